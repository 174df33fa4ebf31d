"""An ordeal: a replay during which every part is killed, and what must hold afterwards all the same."""

import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis
from rich.console import Console

from events.bus import connect
from features.attribute_past import AttributePast
from features.declare import load as load_playbook
from features.feast_store import RedisStateStore
from features.plan import compile_plan
from kairos.demo.live import LiveView, Pulse
from kairos.demo.replay import Replay
from kairos.demo.shopping import HOUSEHOLDS, Shopping
from kairos.relearn import relearn
from kairos.settings import Settings, load
from kairos.stack import PARTS, Stack
from kairos.verify import parity, repeated_pushes
from models import catalogue as offers
from models.online import online_key, unpack

SERVERS = ("bus", "state")
SHORTEST_S, LONGEST_S = 0.1, 1.0


class Killer(Stack):
    """A stack that kills one of its own processes now and then (SIGKILL) and starts it again.

    Victims are drawn in rounds, so that each has its turn before any has a second one. A victim dies
    whenever the replay looks after the stack: while it waits for days to be folded and records to arrive.
    """

    def __init__(self, settings: Settings, seed: int, kills: int, *, kafka: bool = False) -> None:
        super().__init__(settings, kafka=kafka, say=lambda text: None)
        self._random = random.Random(seed)
        self._left = kills
        self._turns: list[str] = []
        self._next = float("inf")
        self.killed: Counter[str] = Counter()

    def begin(self) -> None:
        """From now on processes die."""
        self._next = time.monotonic() + self._pause()

    def check(self) -> None:
        """Look after the stack, and kill when it is time."""
        if self._left and time.monotonic() >= self._next:
            self._left -= 1
            self._turns = self._turns or self._random.sample([*PARTS, *SERVERS], len(PARTS) + len(SERVERS))
            victim = self._turns.pop()
            self.killed[victim] += 1
            if victim in SERVERS:
                self.crash_server(victim)
            else:
                self.crash(victim)
            self._next = time.monotonic() + self._pause()
        super().check()

    def _pause(self) -> float:
        return self._random.uniform(SHORTEST_S, LONGEST_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to, however many kills there were.

    `models` are the online models at the end, `models_differing` how many of them are not what this run's own
    log teaches. That number, as all that says differing, repeated or dead, must be zero. Promised is
    determinism given the log: `models` are the same in all runs as far as their logs say the same.
    """

    seed: int
    kills: dict[str, int]
    seconds: float
    events: int
    decisions: int
    learned: int
    models: Mapping[str, bytes]
    models_differing: int
    states: int
    states_differing: int
    rows_differing: int
    pushes: int
    pushes_repeated: int
    dead_letters: int


def undergo(folder: Path, *, days: int, seed: int, kills: int, kafka: bool = False) -> Outcome:
    """Replay `days` days in `folder` with `kills` kills and compare everything with the log."""
    shopping = Shopping(days)
    catalogue = folder / "catalogue.parquet"
    shopping.write_catalogue(catalogue)
    shopping.write_households(folder / HOUSEHOLDS)
    settings = load(run_dir=folder, catalogue=catalogue, clock="events")
    pulse = Pulse()
    started = time.monotonic()
    with Killer(settings, seed, kills, kafka=kafka) as stack:
        bus = connect(stack.settings.bus, timeout_s=stack.settings.wait_s)
        view = LiveView(pulse, days, Console(quiet=True))
        replay = Replay(stack, shopping, bus, pulse, view, train_on=days + 1)
        stack.once("features", "load")
        stack.begin()
        replay.run()
        plan = compile_plan(load_playbook(settings.playbook))
        store = RedisStateStore(stack.settings.redis, stack.settings.project)
        offered = offers.load(settings.playbook, plan, catalogue)
        held = parity(
            *(bus, store, plan, offered, replay.served),
            states=1_000_000,
            past=AttributePast.read(plan, folder),
        )
        taught = relearn(bus, offered)
        models = _models(stack.settings, taught)
        outcome = Outcome(
            seed=seed,
            kills=dict(stack.killed),
            seconds=time.monotonic() - started,
            events=pulse.events,
            decisions=pulse.decisions,
            learned=pulse.learned,
            models=models,
            models_differing=sum(models.get(name) != taught[name] for name in taught),
            states=held.states,
            states_differing=held.states_differing,
            rows_differing=held.mismatches,
            pushes=pulse.pushes,
            pushes_repeated=repeated_pushes(bus),
            dead_letters=pulse.dead_letters,
        )
        replay.close()
        bus.close()
    return outcome


def _models(settings: Settings, names: Iterable[str]) -> dict[str, bytes]:
    """What the learner has left in Redis of each of these models."""
    found = {}
    with redis.Redis.from_url(settings.redis) as client:
        for name in names:
            packed = client.get(online_key(name))
            if isinstance(packed, bytes):
                found[name] = unpack(packed).bytes
    return found


def table(outcomes: Sequence[Outcome]) -> str:
    """Runs as a Markdown table; the first is the one without kills."""
    lines = [
        "| seed | killed | seconds | events | decisions | outcomes learned | models against its own log "
        "| models against seed 0 | states differing | rows differing | pushes repeated | dead letters |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in outcomes:
        killed = ", ".join(f"{name} {count}" for name, count in sorted(one.kills.items())) or "nothing"
        own = f"{one.models_differing} of {len(one.models)} DIFFER" if one.models_differing else "same bytes"
        same = "same bytes" if one.models == outcomes[0].models else "differ"
        lines.append(
            f"| {one.seed} | {killed} | {one.seconds:.0f} | {one.events:,} | {one.decisions:,} | "
            f"{one.learned:,} | {own} | {same} | {one.states_differing} of {one.states:,} | "
            f"{one.rows_differing} | {one.pushes_repeated} of {one.pushes:,} | {one.dead_letters} |"
        )
    return "\n".join(lines)
