"""Where a process spends its processor time: its threads are looked at every few milliseconds.

Each look charges the time that a thread has used since the last one to the stage it is in now. So a long
call into compiled code counts in full, where a sampler that counted looks would see it once.
"""

import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Final

STAGES: Final = ("read", "decode", "validate", "resolve", "re-key", "fetch", "fold", "write", "other")

RULES: Final = (
    # (end of the file's path, beginning of the function's name, stage); the innermost frame with one counts.
    ("events/redis_bus.py", "read", "read"),
    ("events/redis_bus.py", "_ask", "read"),
    ("events/redis_bus.py", "publish", "re-key"),
    ("events/redis_bus.py", "_command", "re-key"),
    ("events/redis_bus.py", "_head", "re-key"),
    ("events/redis_bus.py", "_add", "re-key"),
    ("events/kafka_bus.py", "read", "read"),
    ("events/kafka_bus.py", "publish", "re-key"),
    ("events/codec.py", "encode", "re-key"),
    ("events/codec.py", "render", "re-key"),
    ("events/codec.py", "", "decode"),
    ("events/typed.py", "take", "decode"),
    ("events/typed.py", "", "validate"),
    ("events/contract.py", "", "validate"),
    ("events/fields.py", "", "validate"),
    ("events/identity.py", "partition_of", "re-key"),
    ("events/identity.py", "", "resolve"),
    ("stream/repeats.py", "", "validate"),
    ("stream/waiting.py", "", "re-key"),
    ("stream/outlet.py", "", "re-key"),
    ("stream/admission.py", "_settle", "re-key"),
    ("stream/admission.py", "_put", "re-key"),
    ("stream/admission.py", "_tick", "re-key"),
    ("stream/admission.py", "", "validate"),
    ("stream/taps.py", "_run", "read"),
    ("stream/state_cache.py", "", "fold"),
    ("features/feast_store.py", "read_many", "fetch"),
    ("features/feast_store.py", "decode_", "fetch"),
    ("features/feast_store.py", "", "write"),
    ("features/feast_commands.py", "reads", "fetch"),
    ("features/feast_commands.py", "", "write"),
    ("features/checking.py", "", "fetch"),
    ("features/log.py", "read", "decode"),
    ("features/state.py", "open_state", "fetch"),
    ("features/fold.py", "decode", "fetch"),
    ("features/", "", "fold"),
    ("stream/behaviour_fold.py", "", "fold"),
    ("stream/behaviour.py", "_take", "write"),
)

EVERY_S: Final = 0.003
SWITCH_S: Final = 0.0005


def stage_of(frame: FrameType | None) -> str:
    """The stage that a stack is in: the first rule that its innermost named frame meets."""
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        for path, begins, stage in RULES:
            if name.startswith(begins) and (file.endswith(path) or (path[-1] == "/" and f"/{path}" in file)):
                return stage
        frame = frame.f_back
    return "other"


class Sampler(threading.Thread):
    """Charges this process' processor time to stages, from `start` on, until `finish`."""

    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)
        self.spent: dict[str, float] = defaultdict(float)
        self.functions: dict[str, float] = defaultdict(float)
        self._used: dict[int, float] = {}
        self._done = threading.Event()
        self._anew = False

    def anew(self) -> None:
        """Forget what was spent until now."""
        self._anew = True

    def start(self) -> None:
        """Begin: what is spent from here on is charged, however late the first look comes."""
        self._look()
        super().start()

    def run(self) -> None:
        """Look until told to finish."""
        # Else a look waits five milliseconds for the interpreter, and lands where it is let go: at a read.
        sys.setswitchinterval(SWITCH_S)
        while not self._done.wait(EVERY_S):
            self._look()

    def finish(self) -> dict[str, float]:
        """Stop looking; the seconds of processor each stage has used."""
        self._done.set()
        self.join()
        return {stage: self.spent[stage] for stage in STAGES if self.spent[stage]}

    def _look(self) -> None:
        anew, self._anew = self._anew, False
        if anew:
            self.spent.clear()
            self.functions.clear()
        for ident, frame in sys._current_frames().items():
            if ident == self.ident:
                continue
            # Whoever has a frame is alive: a thread cannot end while we hold the interpreter.
            used = time.clock_gettime(time.pthread_getcpuclockid(ident))
            spent = used - self._used.get(ident, used)
            self._used[ident] = used
            if spent > 0 and not anew:
                stage = stage_of(frame)
                code = frame.f_code
                self.spent[stage] += spent
                self.functions[f"{stage} {Path(code.co_filename).name}:{code.co_name}"] += spent
