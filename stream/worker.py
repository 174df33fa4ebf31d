"""Workers that share the partitions of the log: each takes every n-th of them."""

from dataclasses import dataclass
from typing import Any, Final

from events.counters import WORKERS_KEY
from events.faults import Refusal

_PROCESS: Final = "behaviour"


class NothingToDo(Refusal):
    """More workers than partitions: this one would have none."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Worker:
    """Worker `index` of `count`.

    >>> Worker(1, 2).partitions(5), Worker(1, 2).name, Worker(0, 2).name
    ([1, 3], 'behaviour-1', 'behaviour')
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Worker":
        """The worker that the command line calls "0/2".

        >>> Worker.parse("1/4")
        Worker(index=1, count=4)
        """
        index, _, count = text.partition("/")
        return cls(int(index), int(count))

    @property
    def name(self) -> str:
        """What its log and its counters are called; the first one is as if it were alone."""
        return f"{_PROCESS}-{self.index}" if self.index else _PROCESS

    @property
    def folder(self) -> str:
        """Where the engine keeps its cursors: not those of a worker with other partitions."""
        return _PROCESS if self.count == 1 else f"{_PROCESS}-{self.index}-of-{self.count}"

    def partitions(self, count: int) -> list[int]:
        """The partitions, of so many, that are its own. Errors: `NothingToDo` when that is none."""
        if self.index >= count:
            raise NothingToDo(
                f"worker {self.index}/{self.count}: expected at most {count} workers, one a partition; "
                "start fewer, or begin anew with more partitions (KAIROS_PARTITIONS)"
            )
        return list(range(self.index, count, self.count))


ALONE: Final = Worker(0, 1)


def register(redis: Any, worker: Worker) -> None:
    """Let metrics know of this worker, and forget those that there are no longer."""
    known = {name.decode(): text.decode() for name, text in redis.hgetall(WORKERS_KEY).items()}
    gone = [name for name, text in known.items() if Worker.parse(text).index >= worker.count]
    if gone:
        redis.hdel(WORKERS_KEY, *gone)
    redis.hset(WORKERS_KEY, worker.name, f"{worker.index}/{worker.count}")
