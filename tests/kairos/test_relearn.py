"""Learning a log again says whether a learner came to what its log teaches; a run is sound only then."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest

from events.bus import Bus, Record
from events.codec import decode
from events.envelope import DECISION, OUTCOME, Event, Tick
from events.topics import BEHAVIOUR
from kairos.ordeal import Outcome, table
from kairos.relearn import relearn
from kairos.soak import sound
from models.catalogue import Catalogue, load
from stream.outcomes import Learner
from stream.rounds import Rounds
from tests.stream.kiosk import PARTITIONS, as_messages, learning_log, plan_of, write_playbook


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    folder = write_playbook(tmp_path_factory.mktemp("kiosk"))
    return load(folder, plan_of(folder))


@pytest.fixture(scope="module")
def logs(catalogue: Catalogue) -> list[list[Record]]:
    return learning_log(catalogue, days=4, decisions_a_day=8)


def learned(
    catalogue: Catalogue, logs: Sequence[Sequence[Record]], *, twice: bool = False, without: int = -1
) -> dict[str, bytes]:
    """What a learner comes to that is begun anew from its state after every round.

    With `twice` it learns the second round again; `without`: that decision never reaches it.
    """
    rounds, decisions = Rounds(PARTITIONS), 0
    for record in (record for log in logs for record in log):
        item = decode(record.value)
        if isinstance(item, Tick):
            rounds.tick(record.partition, record.position, item.time)
            continue
        decisions += item.type == DECISION
        if item.type != DECISION or decisions - 1 != without:
            rounds.event(record.partition, item)
    learner = Learner(catalogue)
    for number, one in enumerate(rounds.complete()):
        before = learner.state()
        learner.learn(one)
        if twice and number == 1:  # models that were kept without what is known to be learned
            kept = msgspec.structs.replace(learner.state(), attribution=before.attribution)
            learner = Learner(catalogue, kept)
            learner.learn(one)
        learner = Learner(catalogue, learner.state())
    return {name: model.bytes for name, model in learner.published().items()}


def test_a_learner_that_crashes_comes_to_what_its_log_teaches_and_a_careless_one_does_not(
    bus: Bus, catalogue: Catalogue, logs: list[list[Record]]
) -> None:
    bus.ensure({BEHAVIOUR: PARTITIONS})
    bus.publish(as_messages(logs))
    taught = relearn(bus, catalogue)
    assert taught.keys() == {"feed"}
    assert learned(catalogue, logs) == taught
    assert learned(catalogue, logs, twice=True) != taught
    assert learned(catalogue, logs, without=3) != taught


def test_an_outcome_is_part_of_what_a_log_teaches(
    bus: Bus, catalogue: Catalogue, logs: list[list[Record]]
) -> None:
    def quiet(record: Record) -> bool:
        item = decode(record.value)
        return isinstance(item, Event) and item.type == OUTCOME

    silent = [[record for record in log if not quiet(record)] for log in logs]
    bus.ensure({BEHAVIOUR: PARTITIONS})
    bus.publish(as_messages(silent))
    assert relearn(bus, catalogue) != learned(catalogue, logs)


PLAIN = Outcome(
    seed=0,
    kills={},
    seconds=1.0,
    events=10,
    decisions=5,
    learned=4,
    models={"feed": b"model"},
    models_differing=0,
    states=3,
    states_differing=0,
    rows_differing=0,
    pushes=2,
    pushes_repeated=0,
    dead_letters=0,
)


def test_a_run_is_sound_only_if_its_models_are_those_of_its_own_log() -> None:
    assert sound(PLAIN, PLAIN)
    wrong = replace(PLAIN, seed=1, models={"feed": b"other"}, models_differing=1)
    assert not sound(wrong, PLAIN)
    assert "1 of 1 DIFFER" in table([PLAIN, wrong]).splitlines()[-1]


def test_another_log_may_teach_another_model_which_the_table_says() -> None:
    other = replace(PLAIN, seed=1, models={"feed": b"other"})
    assert sound(other, PLAIN)
    assert [cell.strip() for cell in table([PLAIN, other]).splitlines()[-1].split("|")][7:9] == [
        "same bytes",
        "differ",
    ]


@pytest.mark.parametrize(
    "less",
    [
        replace(PLAIN, events=1),
        replace(PLAIN, decisions=1),
        replace(PLAIN, learned=1),
        replace(PLAIN, models={}),
    ],
    ids=["events", "decisions", "learned", "models"],
)
def test_a_run_that_lost_something_is_not_sound(less: Outcome) -> None:
    assert not sound(less, PLAIN)
