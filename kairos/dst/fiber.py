"""Blocking code that stands still wherever it asks the world for something, until it is told to go on.

A fiber is a greenlet: exactly one runs at any moment, in one thread, so what happens depends on the schedule
alone. Threads that hand over to each other do the same; a run then took half as long again.
"""

from collections.abc import Callable

from greenlet import getcurrent, greenlet


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
        self._greenlet = greenlet(self._run)
        self._target = target
        self._resumed_by = self._greenlet
        self.over = False
        self.fault: BaseException | None = None

    def resume(self) -> None:
        """Go on; `fault` is then what ended it, if anything did."""
        assert not self.over, "a fiber that has ended cannot go on"
        self._greenlet.parent = self._resumed_by = getcurrent()
        self._greenlet.switch()

    def stand(self) -> None:
        """Called by the target itself: stand still until `resume`."""
        self._resumed_by.switch()

    def _run(self) -> None:
        try:
            self._target()
        except BaseException as fault:  # whatever it is, who resumes must hear of it
            self.fault = fault
        finally:
            self.over = True
            del self._target
