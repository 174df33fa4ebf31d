"""Compile everything ahead, so that no process waits for it later: `python -m features.kernel`."""

import tempfile
import time
from pathlib import Path

from events.codec import encode as encode_event
from events.envelope import Event
from features.checking import check_states
from features.declare import load
from features.fold import decode, empty, encode, fold, merge
from features.log import LogReader
from features.plan import compile_plan
from features.remembered import with_details
from features.row import cross, row

_EVENTS = """
[seen]
topic = "any"
customer = { id = "id" }
fields = { key = "category" }
"""

_PLAYBOOK = """
name = "warm"
[[aggregate]]
name = "seen"
event = "seen"
functions = ["count"]
windows = ["1h"]
unit = "times"
meaning = "seen"
[[aggregate]]
name = "seen_by_key"
event = "seen"
by = "key"
match = "key"
functions = ["share"]
windows = ["1h"]
unit = "times"
meaning = "seen by key"
"""


def compile_all() -> None:
    """Call what is compiled, as everything that runs calls it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "events.toml").write_text(_EVENTS)
        (folder / "playbook.toml").write_text(_PLAYBOOK)
        plan = compile_plan(load(folder))
    state = empty(plan)
    event = Event("seen", "1", 1, "c", {"key": "k"})
    LogReader(plan).read([encode_event(event)])
    fold(plan, state, event, 0, 0)
    check_states(plan, [encode(plan, state)])
    state = decode(plan, encode(plan, merge(plan, state, empty(plan))))
    state.remember(with_details(state.memory, {}))
    row(plan, state, 2, 2)
    cross(plan, state, 2, {"key": ["k"]}, 2)


if __name__ == "__main__":
    began = time.monotonic()
    print(
        "compiling the fold and the row (two to three minutes the first time, then it is kept) ...",
        end=" ",
        flush=True,
    )
    compile_all()
    print(f"{time.monotonic() - began:.1f} s")
