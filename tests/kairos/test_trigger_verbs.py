"""`trigger try` and `trigger stats`: on a real bus and Redis, and on a file of what domains published."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
import redis
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from events.bus import Bus, Message, Record
from events.codec import decode, encode, render_time
from events.envelope import Event, Tick
from events.faults import Refusal
from events.identity import Identities, mint, partition_of
from events.topics import BEHAVIOUR
from events.topics import TRIGGERS as TRIGGERS_TOPIC
from features.attribute_past import AttributePast
from features.fold import empty
from features.plan import Plan
from features.triggers import Fired, act, next_wake, wake
from kairos.__main__ import main
from kairos.local import Server
from kairos.settings import Settings, load
from kairos.trigger_history import history
from kairos.trigger_log import NoPast, PastLog
from kairos.trigger_past import fold_past
from kairos.trigger_stats import count, sparkline
from kairos.trigger_try import NoSuchTrigger
from kairos.trigger_try import run as try_one
from tests.features.trigger_shop import STEP, look, shop, shop_logs
from tests.features.workshop import NOON
from tests.stream.kiosk import DAY, HOUR, MONDAY, joined, purchase, write_playbook

WHO = mint("card", "1")

TRIGGERS = """
[[trigger]]
name = "big_week"
meaning = "much was bought this week"
on = "purchase"
when = "event.kind != 'tea' &&   spend_sum_7d >= 10"
cooldown = "1d"

[[trigger]]
name = "not_back"
meaning = "bought once, and not again for two days"
on = "purchase"
unless = { event = "purchase", within = "2d", when = "event.amount > 0" }
audience = "spend_count_7d < 3"
payload = { paid = "event.amount", so_far = "spend_sum_7d" }

[[trigger]]
name = "not_redeemed"
meaning = "bought, and redeemed nothing within half an hour"
on = "purchase"
unless = { event = "redeemed", within = "30m" }
cooldown = "1d"

[[trigger]]
name = "second"
meaning = "the second of a kind"
on = "purchase"
nth = 2
each = "kind"
"""


def bought(ident: str, at: int, amount: int, kind: str = "soup") -> Event:
    return Event("purchase", ident, at, WHO, {"amount": amount * 10_000, "kind": kind, "note": None})


LOG: list[Event | Tick] = [
    bought("a", MONDAY, 4),
    bought("b", MONDAY + HOUR, 8, "tea"),
    bought("a", MONDAY, 4),
    bought("c", MONDAY + 2 * HOUR, 3),
    Tick(MONDAY + 3 * HOUR),
    bought("d", MONDAY + 3 * HOUR, 3),
    Tick(MONDAY + 4 * DAY),
    bought("late", MONDAY + 3 * DAY + HOUR, 1, "bread"),
    bought("gone", MONDAY, 1),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A playbook that is not live: the stack runs another."""
    place = write_playbook(tmp_path)
    (place / "triggers.toml").write_text(TRIGGERS)
    return place


@pytest.fixture
def settings(
    bus: Bus, bus_server: Server, redis_server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        Identities(client).link([("card", "1"), ("member", "anna")])
    bus.ensure({BEHAVIOUR: 2})
    place = partition_of(WHO, 2)
    keys = [each.customer.encode() if isinstance(each, Event) else b"tick" for each in LOG]
    bus.publish([Message(BEHAVIOUR, place, key, encode(each)) for key, each in zip(keys, LOG, strict=True)])
    for name, value in (("BUS", bus_server.url), ("REDIS", redis_server.url), ("RUN_DIR", folder / "run")):
        monkeypatch.setenv(f"KAIROS_{name}", str(value))
    return load(bus=bus_server.url, redis=redis_server.url, run_dir=folder / "run")


def timeline(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> tuple[str, list[dict[str, object]]]:
    asked = ["trigger", "try", name, "--customer", "member:anna", "--playbook", str(folder), *more]
    assert main(asked) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert main([*asked, "--json"]) == 0
    return said, json.loads(capsys.readouterr().out)["moments"]


def test_it_says_when_it_fired_and_which_part_was_not_true(
    settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, moments = timeline("big_week", folder, capsys)
    assert [each["verdict"] for each in moments] == [
        *("not true", "not true", "repeat", "fired", "true before", "true before", "too late"),
    ]
    assert [each.get("clause") for each in moments[:2]] == ["spend_sum_7d >= 10", "event.kind != 'tea'"]
    assert moments[0]["values"] == {"event.kind": "soup", "spend_sum_7d": 4}
    assert "it fired once" in said
    assert "not true: event.kind != 'tea' (event.kind \"tea\", spend_sum_7d 12)" in said
    assert f"FIRED {moments[3]['instance']}: amount 3, kind" in said
    part = ["--from", str(MONDAY + 2 * HOUR), "--to", str(MONDAY + DAY)]
    _, later = timeline("big_week", folder, capsys, *part)
    assert [each["verdict"] for each in later] == ["fired", "true before"]


def test_it_says_what_waits_came_to(
    settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, moments = timeline("not_back", folder, capsys)
    assert [(each["verdict"], each.get("event")) for each in moments] == [
        ("wait began", "purchase"),
        ("wait ended", "purchase"),
        ("wait began", "purchase"),
        ("repeat", "purchase"),
        ("wait ended", "purchase"),
        ("wait began", "purchase"),
        ("wait ended", "purchase"),
        ("wait began", "purchase"),
        ("not in the audience", None),
        ("wait began", "purchase"),
        ("too late", "purchase"),
        ("still waiting", None),
    ]
    assert (moments[8]["clause"], moments[8]["values"]) == ("spend_count_7d < 3", {"spend_count_7d": 4})
    assert f"fires at {render_time(MONDAY + 2 * DAY)} unless purchase comes" in said
    assert "still waiting at the end of the log" in said


def test_waits_over_at_one_tick_silence_each_other(
    settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, moments = timeline("not_redeemed", folder, capsys)
    looked = [each for each in moments if "event" not in each]
    assert [each["verdict"] for each in looked] == ["fired", *["cooldown"] * 3, "still waiting"]
    half = HOUR // 2
    assert [each["time"] for each in looked[:3]] == [render_time(MONDAY + n * HOUR + half) for n in range(3)]
    over = render_time(MONDAY + half + DAY)
    assert [each["until"] for each in looked[1:4]] == [over] * 3
    assert f"would have fired, but for its cooldown until {over}" in said


def test_it_counts_the_events_of_an_nth(
    settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, moments = timeline("second", folder, capsys)
    judged = [(each["verdict"], each["number"]) for each in moments if "number" in each]
    assert judged == [("not true", 1), ("not true", 1), ("fired", 2), ("not true", 3), ("not true", 1)]
    assert 'number 3 of this kind, it fires at number 2 (event.kind "soup")' in said


def test_who_or_what_is_not_known_is_said_with_the_nearest(settings: Settings, folder: Path) -> None:
    asked: dict[str, Any] = {
        "folder": folder,
        "since": None,
        "until": None,
        "file": None,
        "simulate": None,
        "days": 1,
    }
    for customer, name, words in (
        ("member:ana", "second", "did you mean member:anna?"),
        (mint("card", "2"), "second", "nothing was ever heard of it"),
        ("member:anna", "big_weak", "did you mean big_week?"),
    ):
        with pytest.raises(Refusal, match="expected") as refused:
            try_one(settings, name, customer=customer, **asked, as_json=False)
        assert words in str(refused.value)
        assert isinstance(refused.value, NoSuchTrigger | NoPast)
    with pytest.raises(NoPast, match="--from"):
        try_one(
            settings,
            "second",
            customer=WHO,
            **{**asked, "since": "yesterday"},
            as_json=False,
        )


def test_stats_count_the_running_stacks_log(
    settings: Settings, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trigger", "stats", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "7 events of 1 customer," in said
    assert "2017-07-17 to 2017-07-20, 4 days" in said
    (line,) = [line.split() for line in said.splitlines() if line.startswith("big_week")]
    assert line == ["big_week", "1", "0.25", "1", "100.0%", "2017-07-17", "1", "█···"]
    assert main(["trigger", "stats", str(folder), "--json"]) == 0
    told = {each["trigger"]: each for each in json.loads(capsys.readouterr().out)["triggers"]}
    assert (told["second"]["fired"], told["second"]["days"]) == (1, {"2017-07-17": 1})
    assert told["not_back"]["busiest"] is None


def test_a_file_of_what_domains_published_will_do(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [joined("l", MONDAY - HOUR, card="1", mailing="m1", member="anna")]
    lines += [
        purchase(each.id, each.time, "1", each.fields["amount"] // 10_000, each.fields["kind"])
        for each in LOG
        if isinstance(each, Event)
    ]
    lines += [b"", b"no event", purchase("x", MONDAY + 9 * DAY, "2", 1, "tea")]
    file = tmp_path / "log.jsonl"
    file.write_bytes(b"\n".join(lines))
    said, moments = timeline("big_week", folder, capsys, "--log", str(file))
    verdicts = Counter(str(each["verdict"]) for each in moments)
    assert (verdicts["fired"], verdicts["too late"]) == (1, 1), said
    assert main(["trigger", "stats", str(folder), "--log", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    fired = {each["trigger"]: each["fired"] for each in told["triggers"]}
    assert (fired["big_week"], told["customers"]) == (1, 2)
    assert main(["trigger", "stats", str(folder), "--log", str(tmp_path / "none")]) == 2


PLACES = ("{001}aaaaaaaaaaaa", "{001}bbbbbbbbbbbb", "{003}cccccccccccc")


def placed(log: Sequence[Event | Tick]) -> list[Record]:
    """A log of one partition in which three customers share what happens."""
    records = []
    for position, each in enumerate(log):
        key = b"tick"
        if isinstance(each, Event):
            each = msgspec.structs.replace(each, customer=PLACES[int(each.id) % 3])
            key = each.customer.encode()
        records.append(Record(BEHAVIOUR, 0, position, key, encode(each)))
    return records


def engine(plan: Plan, records: Sequence[Record], customer: str) -> list[Fired]:
    """What the stream's own steps fire for a customer, every tick looked at."""
    state, fired = empty(plan), list[Fired]()
    for record in records:
        item = decode(record.value)
        if isinstance(item, Event):
            if item.customer == customer:
                fired += act(plan, state, [item], 0, [record.position])
            continue
        due = next_wake(plan, state)
        if due is not None and due <= item.time:
            fired += wake(plan, state, item.time, {}, customer)
    return fired


NOTHING = AttributePast(())


@bounded(max_examples=40)
@given(shop_logs(60), st.data())
def test_a_timeline_fires_what_the_engine_fires(log: Sequence[Event | Tick], data: st.DataObject) -> None:
    plan = shop()
    records = placed(log)
    name = data.draw(st.sampled_from([each.name for each in plan.playbook.triggers]))
    for customer in PLACES:
        moments = list(history(plan.playbook, name, customer, records, NOTHING))
        told = [moment.fired for moment in moments if moment.fired is not None]
        expected = [each for each in engine(plan, records, customer) if each.trigger == name]
        assert told == expected


@bounded(max_examples=60)
@given(shop_logs(80))
def test_counting_fires_what_the_engine_fires_at_every_tick(log: Sequence[Event | Tick]) -> None:
    plan = shop()
    records = placed(log)
    past = PastLog("a test", 1, lambda partition: iter(records), lambda who: who, lambda: (), NOTHING)
    messages = [
        orjson.loads(message.value)
        for _, effects in fold_past(plan, past)
        for message in effects.messages
        if message.topic == TRIGGERS_TOPIC
    ]
    found = Counter(each["id"] for each in messages)
    expected = [each for customer in PLACES for each in engine(plan, records, customer)]
    assert found == Counter(
        each.instance + (".superseded" if each.superseded_by is not None else "") for each in expected
    )


def test_ticks_at_which_nobody_waits_are_left_out() -> None:
    plan = shop()
    log: list[Event | Tick] = [look(0, NOON)]
    log += [Tick(NOON + n) for n in range(0, 3 * STEP, 1_000)]
    past = PastLog("a test", 1, lambda partition: iter(placed(log)), lambda who: who, lambda: (), NOTHING)
    assert len(list(fold_past(plan, past))) < 10
    assert {each.name: each.total for each in count(plan, past).triggers}["looked_in_vain"] == 1


def test_a_simulation_knows_its_register(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--simulate", "8", "--days", "3", "--json"]
    assert main(["trigger", "stats", "playbooks/superapp", *asked]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["customers"] == 8
    assert len(told["triggers"]) == 60
    asked += ["--playbook", "playbooks/superapp"]
    assert main(["trigger", "try", "journey_ahead", "--customer", "card:tok-000003", *asked]) == 0
    moments = json.loads(capsys.readouterr().out)["moments"]
    assert all(each["values"]["register_consent"] in (True, False) for each in moments if "values" in each)
    assert moments


def test_bars_are_as_high_as_the_counts() -> None:
    assert sparkline([0, 1, 1_000]) == "·▁█"
    assert sparkline([]) == ""
