"""One customer of many ids: minting, linking, and resolvers that race."""

import random
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from events.codec import BadEvent
from events.identity import SHARDS, Identities, id_key, is_customer, mint, partition_of, shard_of
from kairos.local import Server


@pytest.fixture
def client(redis_server: Server) -> Iterator[Any]:
    with redis.Redis(port=redis_server.port) as found:
        found.flushall()
        yield found


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, SHARDS))
def test_a_minted_id_carries_its_shard(value: str, partitions: int) -> None:
    customer = mint("card", value)
    assert customer == mint("card", value)
    assert re.fullmatch(r"\{\d{3,4}\}[a-z2-7]{12}", customer)
    assert is_customer(customer)
    assert 0 <= shard_of(customer) < SHARDS
    assert partition_of(customer, partitions) == shard_of(customer) % partitions


def test_ids_spread_over_all_shards_and_kinds_differ() -> None:
    minted = [mint("card", str(i)) for i in range(20_000)]
    assert len(set(minted)) == 20_000
    assert {shard_of(customer) for customer in minted} == set(range(SHARDS))
    assert mint("card", "1") != mint("app", "1")


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "card:1",
        "{7}abcdefghijkl",
        "{1024}abcdefghijkl",
        "{0007}abcdefghijkl",
        "{007}abcdefghijk1",
        "{007}abcdefghijkl\n",
        "{007}ABCDEFGHIJKL",
    ],
)
def test_only_a_minted_id_is_taken_for_one(reference: str) -> None:
    assert not is_customer(reference)


def test_an_unknown_id_becomes_a_customer_whom_every_process_finds(client: Any) -> None:
    ids = [("card", "1"), ("app", "1"), ("card", "1")]
    customers = Identities(client).resolve_many(ids)
    assert customers == [mint("card", "1"), mint("app", "1"), mint("card", "1")]
    assert Identities(client).resolve_many(ids[::-1]) == customers[::-1]
    assert client.get(id_key("card", "1")).decode() == customers[0]
    assert Identities(client).resolve_many([]) == []


def test_looking_up_writes_nothing(client: Any) -> None:
    identities = Identities(client)
    assert identities.lookup("card:1") is None
    assert client.dbsize() == 0
    customer = identities.resolve_many([("card", "1")])[0]
    assert identities.lookup("card:1") == Identities(client).lookup("card:1") == customer
    assert identities.lookup(customer) == customer
    assert identities.lookup("card") is None


def test_a_value_may_hold_a_colon(client: Any) -> None:
    customer = Identities(client).resolve_many([("card", "a:b")])[0]
    assert Identities(client).lookup("card:a:b") == customer


def test_ids_are_claimed_in_the_order_asked_for_each_once(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python hashes texts differently in every process; what is written must be the same all the same."""
    identities, claimed = Identities(client), []
    claim = identities._claim

    def told(claims: Any) -> Any:
        claimed.extend(each for each, _ in claims)
        return claim(claims)

    monkeypatch.setattr(identities, "_claim", told)
    ids = [("card", f"c{number}") for number in range(50)]
    identities.resolve_many([*ids, *reversed(ids)])
    assert claimed == ids


def test_linked_ids_are_one_customer(client: Any) -> None:
    identities = Identities(client)
    customer = identities.link([("mailing", "m"), ("card", "c")])
    assert customer == mint("card", "c"), "the least id gives the customer, whatever the order"
    assert identities.resolve_many([("card", "c"), ("mailing", "m")]) == [customer, customer]
    assert Identities(client).link([("card", "c"), ("member", "7")]) == customer
    assert Identities(client).lookup("member:7") == customer
    assert identities.link([("card", "c"), ("mailing", "m")]) == customer, "a repeat changes nothing"


def test_a_link_takes_the_customer_that_one_of_its_ids_already_is(client: Any) -> None:
    identities = Identities(client)
    known = identities.resolve_many([("member", "7")])[0]
    assert identities.link([("card", "c"), ("member", "7")]) == known
    assert identities.resolve_many([("card", "c")]) == [known]


def test_asking_who_an_id_is_never_changes_who_it_is(client: Any) -> None:
    customer = Identities(client).link([("mailing", "m"), ("card", "c")])
    for _ in range(2):  # nothing cached: as another process, or one that has forgotten
        assert Identities(client).resolve_many([("mailing", "m")]) == [customer]
    assert Identities(client).lookup("mailing:m") == customer


def test_two_customers_are_not_made_one(client: Any) -> None:
    identities = Identities(client)
    one, other = identities.resolve_many([("card", "c"), ("app", "a")])
    with pytest.raises(BadEvent) as caught:
        identities.link([("card", "c"), ("app", "a"), ("member", "new")])
    assert caught.value.reason == "identity_conflict"
    assert one in caught.value.found
    assert other in caught.value.found
    assert Identities(client).resolve_many([("card", "c"), ("app", "a")]) == [one, other]
    assert identities.lookup("member:new") is None, "a refused link leaves no trace"


def test_the_cache_is_bounded_and_forgets_only_what_it_can_find_again(client: Any) -> None:
    identities = Identities(client, cache_size=100)
    ids = [("card", str(i)) for i in range(1_000)]
    assert identities.resolve_many(ids) == [mint(*each) for each in ids]
    assert len(identities) <= 100
    linked = identities.link([("card", "0"), ("app", "x")])
    identities.resolve_many(ids)
    assert identities.resolve_many([("app", "x")]) == [linked]
    for each in ids:
        identities.resolve_many([each])
        identities.resolve_many([("card", "0")])
    assert len(identities) <= 100


def test_what_is_known_needs_no_redis(client: Any) -> None:
    identities = Identities(client)
    customers = identities.resolve_many([("card", "1"), ("card", "2")])
    client.flushall()
    assert identities.resolve_many([("card", "2"), ("card", "1")]) == customers[::-1]
    assert client.dbsize() == 0


@pytest.mark.parametrize("seed", range(5))
def test_resolvers_that_race_agree_on_every_id(redis_server: Server, client: Any, seed: int) -> None:
    ids = [(kind, str(i)) for kind in ("card", "app") for i in range(40)]
    found: list[dict[tuple[str, str], str]] = [{} for _ in range(4)]
    reasons: set[str] = set()
    start = threading.Barrier(4)

    def race(who: int) -> None:
        chance = random.Random(seed * 10 + who)
        mine = Identities(redis.Redis(port=redis_server.port), cache_size=chance.choice([4, 1_000]))
        start.wait()
        for _ in range(150):
            i = str(chance.randrange(40))
            try:
                if chance.random() < 0.3:
                    customer = mine.link([("card", i), ("app", i)])
                    found[who][("card", i)] = found[who][("app", i)] = customer
                else:
                    some = chance.sample(ids, 3)
                    for each, customer in zip(some, mine.resolve_many(some), strict=True):
                        assert found[who].setdefault(each, customer) == customer, "an id changed its customer"
            except BadEvent as error:
                reasons.add(error.reason)
        mine._redis.close()  # type: ignore[attr-defined]

    threads = [threading.Thread(target=race, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reasons <= {"identity_conflict"}
    for each in ids:
        customers = {mine[each] for mine in found if each in mine}
        assert len(customers) <= 1
        if customers:
            assert Identities(client).resolve_many([each]) == list(customers)
