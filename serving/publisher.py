"""Publishing from the event loop: what waits together is acknowledged together."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from events.bus import Bus, Message


class Publisher:
    """Hands messages to a synchronous bus in one thread; while one batch is on its way the next one gathers.

    Order is kept: batches leave in the order of `publish` calls, one at a time.
    """

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publisher")
        self._waiting: list[tuple[Sequence[Message], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def publish(self, messages: Sequence[Message]) -> None:
        """Return when every message is durable.

        Errors: `BusUnavailable`: some may be on the bus all the same, so publish again under the same ids.
        """
        if not messages:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((messages, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._carry())
        await future

    async def close(self) -> None:
        """Wait for what is on its way, then let the thread go; the bus stays open."""
        if self._task is not None:
            await asyncio.wait([self._task])
        self._thread.shutdown()

    async def _carry(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            messages = [message for part, _ in batch for message in part]
            fault: Exception | None = None
            try:
                await loop.run_in_executor(self._thread, self.bus.publish, messages)
            except Exception as error:  # whatever it is, those who wait must hear of it
                fault = error
            for _, future in batch:
                if future.done():
                    continue
                if fault is None:
                    future.set_result(None)
                else:
                    future.set_exception(fault)
