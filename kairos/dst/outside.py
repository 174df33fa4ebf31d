"""Everybody outside: tills, apps and clubs that publish, and publish again until it is acknowledged."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from zlib import crc32

import orjson

from events.bus import Message
from events.topics import DECISIONS, OUTCOMES
from kairos.dst.broken import Broken
from kairos.dst.doors import Answer, ask
from kairos.dst.part import Incarnation
from kairos.dst.processes import PARTITIONS
from kairos.dst.schedule import Errand
from kairos.dst.stall import KINDS, bought, filled, joined
from kairos.dst.world import EPOCH_MS, World

DELIVERED: Final = ("till", "web", "club", DECISIONS, OUTCOMES)
CARDS: Final = 5
AGAIN_MS: Final = 60
LATEST: Final = 3
PATIENCE_MS: Final = 250.0
LONGEST_MS: Final = 2_000.0
LATE_MS: Final = 180_000
AHEAD_MS: Final = 4_000


class Doing(NamedTuple):
    """An errand on its way: tried at the instant `at` (ms since the beginning), again until it says True."""

    at: float
    errand: Errand
    attempt: Callable[[], bool]


class Outside:
    """Runs errands; what of them was acknowledged is kept.

    `answers` has what each request was answered, `outcomes` of which decision and offer an outcome was taken,
    in the order in which that was heard.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._doing: list[Doing] = []
        self.answers: dict[str, bytes] = {}
        self.outcomes: list[tuple[str, str]] = []

    @property
    def busy(self) -> bool:
        """Whether an errand is still on its way."""
        return bool(self._doing)

    def begin(self, errand: Errand) -> None:
        """Set out on an errand."""
        attempt = getattr(self, f"_{errand.what}")(errand)
        if attempt is not None:
            self._doing.append(Doing(self._world.now, errand, attempt))

    def turn(self) -> None:
        """Try what is due."""
        now = self._world.now
        for doing in [each for each in self._doing if each.at <= now]:
            self._doing.remove(doing)
            if not doing.attempt():
                self._doing.append(doing._replace(at=now + AGAIN_MS))

    def twice(self) -> bool:
        """Some domain, or a door, publishes again what it has published; whether there was anything."""
        held = self._world.topics.partitions
        kept = [each.records for topic in DELIVERED for each in held[topic] if each.records]
        if kept:
            record = self._world.random.choice(self._world.random.choice(kept))
            self._world.topics.keep(Message(record.topic, record.partition, record.key, record.value))
            self._world.tell(
                "outside", f"! {record.topic}/{record.partition}/{record.position} is delivered again"
            )
        return bool(kept)

    def _publish(self, topic: str, key: str, value: bytes, ident: str) -> Callable[[], bool]:
        world = self._world
        message = Message(topic, crc32(key.encode()) % PARTITIONS, key.encode(), value)

        def attempt() -> bool:
            if world.weather.why("bus", "outside"):
                return False
            world.topics.keep(message)
            world.tell("outside", f"publishes {ident} to {topic}/{message.partition}")
            if world.random.random() < 0.05:
                world.tell("outside", f"hears no answer for {ident}")
                return False
            return True

        return attempt

    def _wall(self) -> int:
        return EPOCH_MS + int(self._world.now)

    def _buy(self, errand: Errand, ago: int = 0) -> Callable[[], bool]:
        card, kind = f"c{errand.n % CARDS}", KINDS[errand.n // 7 % len(KINDS)]
        ident = f"r{errand.n}"
        value = bought(ident, self._wall() - ago, card, errand.n // 100 % 15, kind)
        return self._publish("till", card, value, ident)

    def _late(self, errand: Errand) -> Callable[[], bool]:
        return self._buy(errand, LATE_MS)

    def _ahead(self, errand: Errand) -> Callable[[], bool]:
        """A till whose clock is ahead."""
        return self._buy(errand, -errand.n % AHEAD_MS)

    def _fill(self, errand: Errand) -> Callable[[], bool]:
        app, ident = f"a{errand.n % CARDS}", f"b{errand.n}"
        value = filled(ident, self._wall(), app, KINDS[errand.n // 7 % len(KINDS)])
        return self._publish("web", app, value, ident)

    def _join(self, errand: Errand) -> Callable[[], bool]:
        number, ident = errand.n % CARDS, f"f{errand.n}"
        value = joined(ident, self._wall(), f"c{number}", f"a{number}")
        return self._publish("club", f"c{number}", value, ident)

    def _nonsense(self, errand: Errand) -> Callable[[], bool]:
        ident = f"x{errand.n}"
        value = (
            b'{"nonsense": "%s"' % ident.encode() if errand.n % 2 else bought(ident, 0, "", "much", "fruit")
        )
        return self._publish("till", ident, value, ident)

    def _decide(self, errand: Errand) -> Callable[[], bool]:
        request = f"q{errand.n}"
        asked = {"customer": f"card:c{errand.n % CARDS}", "placement": "feed", "request_id": request}

        def hear(answer: Answer) -> None:
            before = self.answers.setdefault(request, answer.body)
            if before != answer.body:
                raise Broken(
                    "One request has one answer", f"{request}: first {before!r}, then {answer.body!r}"
                )

        return self._ask("/v1/decisions", asked, hear)

    def _answer(self, errand: Errand) -> Callable[[], bool] | None:
        """Take up an offer that was made."""
        if not self.answers:
            return None
        decided = orjson.loads(list(self.answers.values())[errand.n % len(self.answers)])
        offers = [each["offer"] for each in decided["offers"]]
        if not offers:
            return None
        return self._report(decided["decision_id"], offers[errand.n // 7 % len(offers)], {})

    def _again(self, errand: Errand) -> Callable[[], bool] | None:
        """Report an outcome of just now once more, as another system that knows it by another name."""
        if not self.outcomes:
            return None
        decision, offer = self.outcomes[-1 - errand.n % min(len(self.outcomes), LATEST)]
        return self._report(decision, offer, {"outcome_id": f"o{errand.n}"})

    def _report(self, decision: str, offer: str, more: dict[str, str]) -> Callable[[], bool]:
        told = {"decision_id": decision, "offer": offer, "kind": "conversion", **more}
        return self._ask("/v1/outcomes", told, lambda answer: self.outcomes.append((decision, offer)))

    def _ask(
        self, path: str, asked: dict[str, Any], hear: Callable[[Answer], None] = lambda answer: None
    ) -> Callable[[], bool]:
        """Ask the HTTP door, and again until it has answered well and the answer was heard."""
        body, world = orjson.dumps(asked), self._world
        asking: tuple[Incarnation, asyncio.Task[Answer]] | None = None
        patience, pause = 0.0, PATIENCE_MS

        def attempt() -> bool:
            nonlocal asking, patience, pause
            life = world.parts["serve"].life
            if asking is not None:
                asked_of, task = asking
                if task.done() and (task.cancelled() or task.exception() is not None):
                    asking = None
                    fault = None if task.cancelled() else task.exception()
                    if fault is not None:
                        raise Broken("What is asked well is answered", f"{path}: {fault!r}") from fault
                elif task.done():
                    asking, answer = None, task.result()
                    if world.random.random() < 0.05:
                        world.tell("outside", f"does not hear the answer of {path}")
                    elif answer.status < 300:
                        world.tell("outside", f"hears {answer.status} of {path}")
                        hear(answer)
                        return True
                    elif answer.status >= 500:
                        patience, pause = world.now + pause, min(2 * pause, LONGEST_MS)
                    else:
                        what = f"{path}: {answer.status} {answer.body!r}"
                        raise Broken("What is asked well is answered", what)
                elif asked_of is not life:
                    asking = None  # it has died, and nobody will answer
                return False
            if life is not None and world.now >= patience:
                world.tell("outside", f"asks {path} {body.decode()}")
                asking = life, ask(life, "POST", path, body)
            return False

        return attempt
