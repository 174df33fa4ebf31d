"""An asyncio event loop of simulated time that runs when the schedule says so."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from itertools import count
from typing import Any, Final, TypeVar, cast

T = TypeVar("T")
Connect = Callable[["SimulatedLoop", asyncio.BaseProtocol], asyncio.Transport]
Block = Callable[[Callable[[], None]], None]

NOW_AND_THEN_S: Final = 0.2
"""Who sleeps so long looks whether there is something to do; who sleeps less waits for what is coming."""


class SimulatedLoop(asyncio.AbstractEventLoop):
    """What asyncio's tasks, futures, locks and time-outs ask of a loop.

    `now` gives its time in seconds. `connect` opens a connection for a protocol, `block` runs a function that
    may stand still, beside the loop. `leisure` is that of `World`. Callbacks run by `step`, and `due` says
    when the next one may.
    """

    def __init__(
        self,
        now: Callable[[], float],
        connect: Connect,
        block: Block,
        leisure: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self._now, self._connect, self._block, self._leisure = now, connect, block, leisure
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()
        self.faults: list[BaseException] = []

    def due(self) -> float | None:
        """When (s) the next callback may run; None when nothing waits."""
        if self._ready:
            return self._now()
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def step(self) -> None:
        """Run what may run, until everything waits. Errors: `SystemExit` of a callback, such as `Crash`."""
        now = self._now()
        while self._timers and self._timers[0][0] <= now:
            self._ready.append(heapq.heappop(self._timers)[2])
        while self._ready:
            handle = self._ready.popleft()
            if not handle.cancelled():
                asyncio._set_running_loop(self)
                try:
                    handle._run()
                finally:
                    asyncio._set_running_loop(None)

    def time(self) -> float:
        """Seconds of simulated time."""
        return self._now()

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run at some next step."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run `delay` seconds from now, or later by as much as who looks now and then has leisure."""
        by = delay * self._leisure() if delay >= NOW_AND_THEN_S else delay
        return self.call_at(self._now() + by, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run at an instant."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is left out when its time comes."""

    def create_future(self) -> "asyncio.Future[Any]":
        """See `asyncio.loop.create_future`."""
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **_: Any
    ) -> "asyncio.Task[Any]":
        """See `asyncio.loop.create_task`."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """Run a function that may stand still; the loop goes on meanwhile."""
        future: asyncio.Future[T] = self.create_future()

        def run() -> None:
            try:
                found = func(*args)
            except Exception as error:
                if not future.cancelled():
                    future.set_exception(error)
            else:
                if not future.cancelled():
                    future.set_result(found)

        self._block(run)
        return future

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.Protocol], *_: Any, **__: Any
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """A connection to the simulated Redis. Errors: `OSError` when it is away."""
        protocol = protocol_factory()
        await asyncio.sleep(0)
        transport = self._connect(self, protocol)
        protocol.connection_made(transport)
        return transport, protocol

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What nobody has caught is kept in `faults`."""
        if isinstance(fault := context.get("exception"), BaseException):
            self.faults.append(fault)

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """Always, as far as anybody who asks can tell."""
        return True

    def is_closed(self) -> bool:
        """Never."""
        return False

    def bury(self) -> None:
        """End every task: each is cancelled, and runs what it has to do at its end."""
        for _ in range(100):
            tasks = [task for task in asyncio.all_tasks(self) if not task.done()]
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            for _ in range(1_000):
                if not self._ready:
                    break
                try:
                    self.step()
                except SystemExit:
                    continue
        self._ready.clear()
        self._timers.clear()
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]


def finish(loop: SimulatedLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run a loop by itself until `work` is done, for tests of loops."""
    task = loop.create_task(work)
    while not task.done():
        loop.step()
    return cast(T, task.result())
