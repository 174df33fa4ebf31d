"""What must hold of states and triggers: they are what the log says, told plainly."""

from collections.abc import Iterator
from typing import Final

from events.envelope import Event
from features.everybody import fold_records
from features.everybody_store import everybody_key
from features.feast_store import WATERMARKS_KEY, feast_key, wakes_key
from features.fold import empty, settled
from features.log import LogReader
from features.row import row
from features.state import State
from features.triggers import next_wake
from kairos.dst.broken import Broken, named
from kairos.dst.processes import PARTITIONS, SETTINGS
from kairos.dst.retold import Story
from kairos.dst.stall import stall
from kairos.dst.witness import Witness
from stream.behaviour import POSITIONS

LATENESS_MS: Final = 60_000
"""Of the stall's playbook."""


class StatesTrue:
    """A state is what the log up to some event or tick comes to, and never goes back to an earlier one."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._customers: dict[bytes, tuple[str, Story]] = {}
        self._known = 0
        self._reached: dict[str, int] = {}

    def __call__(self) -> None:
        """Look at what has changed. Errors: `Broken`."""
        touched = self._witness.world.redis.keys.touched
        if not touched:
            return
        if (known := sum(len(each.stories) for each in self._witness.retold)) != self._known:
            self._known = known
            for retold in self._witness.retold:
                for customer, story in retold.stories.items():
                    self._customers[feast_key(SETTINGS.project, customer)] = customer, story
        for key in touched & self._customers.keys():
            customer, story = self._customers[key]
            blob = self._witness.blob(customer)
            page = None if blob is None else story.numbers.get(blob)
            if page is None:
                raise Broken(named(self), f"{customer} holds a state that the log never comes to")
            if page < (before := self._reached.get(customer, 0)):
                raise Broken(named(self), f"{customer} was at state {before} of the log and is at {page}")
            self._reached[customer] = page


class PositionsTrue:
    """What a watermark or a saved position covers is in the states, and who waits is known to be woken."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._checked = [-1] * PARTITIONS

    def __call__(self) -> None:
        """Look at what has changed. Errors: `Broken`."""
        witness = self._witness
        if not witness.touched(WATERMARKS_KEY, POSITIONS):
            return
        marks, places = witness.hash(WATERMARKS_KEY), witness.hash(POSITIONS)
        for partition in range(PARTITIONS):
            field = b"%d" % partition
            claimed = int(places.get(field, b"-1"))
            if (mark := marks.get(field)) is not None:
                tick = witness.tick(partition, int(mark))
                if tick is None:
                    raise Broken(named(self), f"watermark {int(mark)} of {partition} is of no tick")
                claimed = max(claimed, tick)
            if claimed > self._checked[partition]:
                self._look(partition, self._checked[partition], claimed)
                self._checked[partition] = claimed

    def _look(self, partition: int, after: int, claimed: int) -> None:
        log, programs = self._witness.log[partition], stall().plan.programs
        newest: dict[str, int] = {}
        for record, item in log[after + 1 : claimed + 1]:
            if isinstance(item, Event) and item.type in programs:
                newest[item.customer] = record.position
        waiting = self._witness.world.redis.keys.ranked(wakes_key(partition).encode())
        for customer, position in newest.items():
            state = self._witness.state(customer)
            held = -1 if state is None else state.applied.get(partition, -1)
            if state is None or held < position:
                what = (
                    f"{customer} holds {partition} up to {held}, not {position}, though {claimed} is claimed"
                )
                raise Broken(named(self), what)
            if held > position:
                continue  # it is being folded on: its wake-up is written behind it
            due, known = next_wake(stall().plan, state), waiting.get(customer.encode())
            if due is not None and (known is None or known > due):
                what = f"{customer} waits for {due}, Redis knows of {known}, though {claimed} is claimed"
                raise Broken(named(self), what)


def told_by_the_log(witness: Witness) -> Iterator[str]:
    """States and triggers are what the plain fold of the log says, and who waits is known to be woken."""
    expected: set[str] = set()
    for partition, retold in enumerate(witness.retold):
        waiting = witness.world.redis.keys.ranked(wakes_key(partition).encode())
        for customer, story in sorted(retold.stories.items()):
            expected.update(story.fired)
            blob, state = witness.blob(customer), story.pages[-1].state
            if blob != state:
                held = "none" if blob is None else f"one of {len(blob)} bytes"
                yield f"{customer}: expected a state of {len(state)} bytes, found {held} that differs"
            at = waiting.get(customer.encode())
            if story.due is not None and (at is None or at > story.due):
                yield f"{customer} waits for {story.due}, Redis knows of {at}"
    for instance in sorted(expected - witness.triggers.keys()):
        yield f"{instance} did not fire"
    for instance in sorted(witness.triggers.keys() - expected):
        yield f"{instance} fired, and the log says nothing of it"


def counted_once(witness: Witness) -> Iterator[str]:
    """An event counts once in its customer's state, however often it stands on the log."""
    plan, at = stall().plan, witness.world.wall_ms()
    place = [feature.name for feature in plan.customer_features].index("spend_sum_5m")
    for log in witness.log:
        newest: dict[str, int] = {}
        paid: dict[str, dict[str, int]] = {}
        for _, item in log:
            if not isinstance(item, Event) or item.type not in plan.programs:
                continue
            if item.time >= at or item.time < newest.get(item.customer, -1) - LATENESS_MS:
                continue
            newest[item.customer] = max(newest.get(item.customer, -1), item.time)
            if item.type == "bought":
                paid.setdefault(item.customer, {}).setdefault(item.id, int(item.fields["amount"]))
        for customer, once in paid.items():
            state = witness.state(customer)
            found = 0.0 if state is None else float(row(plan, state, at, at)[place])
            if abs(found - sum(once.values()) / 10_000) > 0.001:
                yield f"{customer} has paid {sum(once.values()) / 10_000}, the state says {found}"


def everybody_told(witness: Witness) -> Iterator[str]:
    """What is counted over everybody is what the log says, each event once."""
    crowd = stall().plan.crowd
    assert crowd is not None, "the stall counts over everybody"
    for partition, log in enumerate(witness.log):
        values, positions = [record.value for record, _ in log], [record.position for record, _ in log]
        expected = fold_records(LogReader(crowd), empty(crowd).blob, values, partition, positions)
        found = witness.hash(everybody_key(partition)).get(b"state")
        if found is None or settled(crowd, State(found)).blob != settled(crowd, State(expected)).blob:
            yield f"partition {partition}: the counts of everybody differ from those of its log"
