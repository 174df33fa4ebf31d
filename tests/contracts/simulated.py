"""The simulated bus as a server that tests start, kill and connect to."""

import threading
import time

from events.bus import Bus, Message
from kairos.dst.bus import ADDRESS, SimulatedBus, Topics
from kairos.dst.life import Undisturbed


class SimulatedServer:
    """What the bus holds, for connections from any thread; nothing is lost when it is killed."""

    url = ADDRESS

    def __init__(self) -> None:
        self.topics = _Locked()
        self.dead = False

    def start(self) -> None:
        """Answer from now on."""
        self.dead = False

    def kill(self) -> None:
        """Answer no more."""
        self.dead = True

    def stop(self) -> None:
        """The same."""
        self.dead = True

    def connect(self) -> Bus:
        """A connection of one's own."""
        return SimulatedBus(self.topics, _Life(self))


class _Locked(Topics):
    """Real threads append here; those of a simulated run never meet."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def keep(self, message: Message) -> None:
        """See `Topics.keep`."""
        with self._lock:
            super().keep(message)


class _Life(Undisturbed):
    def __init__(self, server: SimulatedServer) -> None:
        super().__init__(time.monotonic, time.sleep)
        self._server = server

    def away(self, port: str) -> str:
        return "it was killed" if self._server.dead else ""
