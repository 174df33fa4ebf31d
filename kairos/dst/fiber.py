"""Blocking code that stands still wherever it asks the world for something, until it is told to go on.

A fiber is a thread of which exactly one runs at any moment, so what happens depends on the schedule alone.
"""

import threading
from collections.abc import Callable
from typing import Final


class _Worker:
    """A thread that runs one fiber after the other; starting one anew would cost several times a switch."""

    def __init__(self) -> None:
        self._go = threading.Lock()
        self._back = threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self.target: Callable[[], None] | None = None
        threading.Thread(target=self._work, name="fiber", daemon=True).start()

    def resume(self) -> None:
        """Let the thread run until it stands still or has ended."""
        self._go.release()
        self._back.acquire()

    def stand(self) -> None:
        """Called in the thread: let the others run until `resume`."""
        self._back.release()
        self._go.acquire()

    def _work(self) -> None:
        while True:
            self._go.acquire()
            target, self.target = self.target, None
            assert target is not None, "a fiber that was resumed has something to do"
            target()
            _idle.append(self)
            self._back.release()


_idle: Final[list[_Worker]] = []


class Fiber:
    """`target` run piece by piece: `resume` runs it to where it next calls `stand`, or to its end.

    >>> seen: list[str] = []
    >>> def work() -> None:
    ...     seen.append("one")
    ...     fiber.stand()
    ...     seen.append("two")
    >>> fiber = Fiber(work)
    >>> fiber.resume(); seen, fiber.over
    (['one'], False)
    >>> fiber.resume(); seen, fiber.over
    (['one', 'two'], True)
    """

    def __init__(self, target: Callable[[], None]) -> None:
        self._worker = _idle.pop() if _idle else _Worker()
        self._worker.target = self._run
        self._target = target
        self.over = False
        self.fault: BaseException | None = None

    def resume(self) -> None:
        """Go on; `fault` is then what ended it, if anything did."""
        assert not self.over, "a fiber that has ended cannot go on"
        self._worker.resume()

    def stand(self) -> None:
        """Called by the target itself: stand still until `resume`."""
        self._worker.stand()

    def _run(self) -> None:
        try:
            self._target()
        except BaseException as fault:  # whatever it is, who resumes must hear of it
            self.fault = fault
        finally:
            self.over = True
            del self._target
