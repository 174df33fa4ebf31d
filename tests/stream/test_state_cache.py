"""The cache of states is bounded by bytes, and what it lets go comes back whole from the store."""

from hypothesis import given
from hypothesis import strategies as st

from events.bus import Record
from events.codec import encode
from events.envelope import Event
from events.identity import mint, partition_of
from features.plan import Plan
from stream.state_cache import OVERHEAD, Entry, StateCache
from stream.taps import Poll
from tests.stream.kiosk import DAY, MONDAY, PARTITIONS, MemoryStore
from tests.stream.test_behaviour_fold import Process

MANY, ROUNDS = 3_000, 3


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 500)), max_size=40), st.integers(0, 4_000)
)
def test_bytes_are_what_is_kept_and_never_more_than_its_capacity(
    plan: Plan, puts: list[tuple[str, int]], capacity: int
) -> None:
    cache = StateCache(capacity)
    sizes: dict[str, int] = {}
    for customer, size in puts:
        cache.put(customer, Entry(bytes(size // 3), bytes(size - size // 3), None))
        sizes.pop(customer, None)
        sizes[customer] = size
        assert cache.bytes == sum(each + OVERHEAD for each in sizes.values())
        cache.shrink()
        while sum(each + OVERHEAD for each in sizes.values()) > capacity:
            del sizes[next(iter(sizes))]  # the one used least recently
        assert cache.bytes <= capacity
        found = cache.use("abcdefgh")
        assert [entry is not None for entry in found] == [each in sizes for each in "abcdefgh"]
        sizes = {each: sizes[each] for each in "abcdefgh" if each in sizes}  # now used in this order


def test_an_entry_that_grew_is_weighed_again(plan: Plan) -> None:
    cache, entry = StateCache(10_000), Entry(bytes(60), bytes(40), None)
    cache.put("a", entry)
    cache.replace([entry], [bytes(860)], [None])
    assert (len(entry), entry.changed, cache.bytes) == (900, False, 900 + OVERHEAD)
    cache.replace([entry], [bytes(870)], [bytes(30)])
    assert (len(entry), entry.changed, cache.bytes) == (900, True, 900 + OVERHEAD)
    cache.put("a", entry)
    assert cache.bytes == 900 + OVERHEAD
    cache.forget("a")
    assert cache.bytes == 0


def test_quiet_customers_cost_no_memory_and_come_back_whole(plan: Plan) -> None:
    """Three thousand customers buy once, then one buys on; later all come back, as without a bound."""

    def play(capacity: int) -> tuple[MemoryStore, list[int]]:
        store = MemoryStore()
        process = Process(plan, store, capacity)
        positions, cached = [0] * PARTITIONS, []

        def take(people: list[str], day: int) -> None:
            for start in range(0, len(people), 250):
                polls: list[list[Record]] = [[] for _ in range(PARTITIONS)]
                for who in people[start : start + 250]:
                    n = partition_of(who, PARTITIONS)
                    fields = {"amount": 10_000, "kind": "soup", "note": None}
                    ident, at = f"{who}-{day}-{positions[n]}", MONDAY + day * DAY
                    event = Event("purchase", ident, at, who, fields)
                    polls[n].append(Record("behaviour", n, positions[n], b"", encode(event)))
                    positions[n] += 1
                process.stage.take([Poll("behaviour", n, each, None) for n, each in enumerate(polls) if each])
                cached.append(process.cache.bytes)

        people = [mint("card", str(n)) for n in range(MANY)]
        for turn in range(ROUNDS):
            take(people, turn)
            take(people[:1] * 250, turn)
        return store, cached

    bounded, cached = play(100_000)
    assert max(cached) <= 100_000
    unbounded, whole = play(1_000_000_000)
    assert whole[-1] > 5 * max(cached)
    assert bounded.blobs == unbounded.blobs
    assert len(bounded.blobs) == MANY
