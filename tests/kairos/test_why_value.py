"""`why-value` on a real bus and Redis: a table for people, JSON for programs, errors with a hint."""

import json
from pathlib import Path

import pytest
import redis

from events.bus import Bus, Message
from events.codec import encode, render_time
from events.envelope import Event, Tick
from events.identity import Identities, mint, partition_of
from events.topics import BEHAVIOUR
from features.batch import hash_key
from features.why import CannotSay
from kairos.local import Server
from kairos.settings import Settings
from kairos.why_value import run
from tests.stream.kiosk import DAY, HOUR, MONDAY, write_playbook

WHO = mint("card", "1")
OTHER = next(who for n in range(99) if partition_of(who := mint("card", f"x{n}"), 2) == partition_of(WHO, 2))

SHARED = """
[[aggregate]]
name = "shop"
of = "global"
event = "purchase"
value = "amount"
functions = ["sum"]
windows = ["7d"]
unit = "USD"
meaning = "what everybody pays"

[[ratio]]
name = "of_the_shop"
numerator = "spend_sum_7d"
denominator = "shop_sum_7d"
unit = "share"
meaning = "this customer's part of the shop"
"""


def bought(ident: str, at: int, amount: int, kind: str = "soup", who: str = WHO) -> Event:
    return Event("purchase", ident, at, who, {"amount": amount, "kind": kind, "note": None})


@pytest.fixture
def settings(bus: Bus, bus_server: Server, redis_server: Server, tmp_path: Path) -> Settings:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        Identities(client).link([("card", "1"), ("member", "anna")])
    bus.ensure({BEHAVIOUR: 2})
    first = bought("a", MONDAY, 55_000)
    log = [
        first,
        bought("b", MONDAY + DAY, 30_000, "tea"),
        first,
        bought("too late", MONDAY - 3 * DAY, 10_000),
        bought("not mine", MONDAY, 10_000, who=OTHER),
        Tick(MONDAY + 2 * DAY),
        bought("afterwards", MONDAY + 4 * DAY, 10_000),
    ]
    keys = [each.customer.encode() if isinstance(each, Event) else b"" for each in log]
    place = partition_of(WHO, 2)
    bus.publish([Message(BEHAVIOUR, place, key, encode(each)) for key, each in zip(keys, log, strict=True)])
    return Settings(playbook=write_playbook(tmp_path), bus=bus_server.url, redis=redis_server.url)


def test_people_see_the_events_and_that_they_add_up(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    at = render_time(MONDAY + 2 * DAY)
    asked = {"customer": "member:anna", "feature": "spend_sum_7d", "at": at, "offer": None}
    assert run(settings, **asked, as_json=False) == 0  # type: ignore[arg-type]
    said = " ".join(capsys.readouterr().out.split())
    assert f"spend_sum_7d of {WHO} at {at}: 8.5 USD from 2 events that add up to it" in said
    for part in ("2017-07-17T04:00:00Z a amount 5.5", 'kind "tea"', "repeat", "late", "tiles of at most 1 %"):
        assert part in said, part
    assert "afterwards" not in said
    assert "not mine" not in said


def test_programs_get_everything(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    at = str(MONDAY + 2 * DAY)
    assert run(settings, customer=WHO, feature="kind_sum_7d", at=at, offer="bread", as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["key"] == "bakery", "an offer's id picks the key it has"
    assert run(settings, customer=WHO, feature="kind_sum_7d", at=at, offer="tea", as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["key"] == "drink"
    assert run(settings, customer=WHO, feature="kind_sum_7d", at=at, offer="soup", as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["value"], told["added"], told["adds_up"]) == (5.5, 5.5, True)
    assert [(each["id"], each["adds"], each["position"]) for each in told["events"]] == [("a", 5.5, 0)]
    assert told["left_out"] == {"another kind": 1, "repeat": 1, "late": 1}
    assert told["events"][0]["fields"] == {"amount": 5.5, "kind": "soup", "note": None}


def test_without_an_instant_it_is_as_far_as_the_log(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings, customer="card:1", feature="spend_count_7d", at=None, offer=None, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["at"] == render_time(MONDAY + 4 * DAY + 1)
    assert [each["id"] for each in told["events"]] == ["a", "b", "afterwards"]
    assert (
        run(settings, customer="card:1", feature="visit_since_last", at=None, offer=None, as_json=True) == 0
    )
    assert json.loads(capsys.readouterr().out)["value"] == pytest.approx(1 / DAY, rel=1e-6)
    late = str(MONDAY + 6 * DAY + HOUR)
    assert run(settings, customer="card:1", feature="spend_sum_7d", at=late, offer=None, as_json=False) == 0
    assert "says nothing here: the log was not read for longer than 2d" in capsys.readouterr().out


def test_a_number_of_what_was_let_go_does_not_look_like_a_fault(
    settings: Settings, bus: Bus, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = [f"kind {n}" for n in range(200)]
    events = [bought(kind, MONDAY + 3 * DAY + n, 10_000, kind) for n, kind in enumerate(kinds)]
    bus.publish([Message(BEHAVIOUR, partition_of(WHO, 2), WHO.encode(), encode(each)) for each in events])
    for negative in (False, True):
        kind = next(kind for kind in kinds if (hash_key(kind) < 0) == negative)
        asked = {"customer": WHO, "feature": "kind_sum_7d", "at": str(MONDAY + 4 * DAY), "offer": kind}
        assert run(settings, **asked, as_json=True) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["added"] == 1.0
        assert (told["value"], told["adds_up"]) == ((None, False) if negative else (1.0, True))
        assert [each["kind"] for each in told["let_go"]] == (["key"] if negative else [])
        assert run(settings, **asked, as_json=False) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert ("let go: kind keeps one kind in 2 of this customer" in said) == negative
        assert ("missing; its events come to 1, which the state has let go" in said) == negative
        assert "BUT" not in said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"customer": "member:ana"}, r"did you mean member:anna\?"),
        ({"customer": "badge:7"}, "no id is known here"),
        ({"customer": WHO[:-1] + ("a" if WHO[-1] != "a" else "b")}, f"did you mean .*{WHO[5:-1]}"),
        ({"feature": "spend_sum_7"}, r"did you mean spend_sum_7d\?"),
        ({"feature": "kind_sum_7d"}, "give --offer"),
        ({"at": "yesterday"}, "--at: expected an RFC 3339 instant"),
    ],
)
def test_what_is_not_known_is_said_with_the_nearest(
    settings: Settings, changed: dict[str, str], said: str
) -> None:
    asked = {"customer": WHO, "feature": "spend_sum_7d", "at": None, "offer": None} | changed
    with pytest.raises(CannotSay, match=said):
        run(settings, **asked, as_json=False)  # type: ignore[arg-type]


def test_what_everybody_does_is_told_without_a_customer(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    declared = settings.playbook / "playbook.toml"
    declared.write_text(declared.read_text() + SHARED)
    at = str(MONDAY + 2 * DAY)
    for customer in ("everybody", "card:1"):
        assert run(settings, customer=customer, feature="shop_sum_7d", at=at, offer=None, as_json=True) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["customer"], told["value"], told["missing"]) == ("everybody", 15.0, True)
        assert [each["id"] for each in told["events"]] == ["a", "a", "not mine", "b"], "a repeat counts twice"
        assert told["left_out"] == {"late": 1}
    asked = {"feature": "of_the_shop", "at": at, "offer": None}
    assert run(settings, customer="card:1", **asked, as_json=False) == 0  # type: ignore[arg-type]
    said = " ".join(capsys.readouterr().out.split())
    assert "= 1 x spend_sum_7d / shop_sum_7d = 1 x 8.5 / 15" in said
    with pytest.raises(CannotSay, match="customer: expected a known one, found 'everybody'"):
        run(settings, customer="everybody", **asked, as_json=False)  # type: ignore[arg-type]
