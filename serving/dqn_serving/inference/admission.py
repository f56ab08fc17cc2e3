"""Which requests are taken on: as many as can be answered soon. The others get a refusal at once."""

import asyncio
from time import perf_counter, thread_time

from dqn_serving.problems import Problem


def overload() -> Problem:
    """The answer to requests that are not taken on."""
    return Problem(503, "The server is overloaded (DQN_MAX_WAITING_SECONDS); retry later.")


class Admission:
    """Limits the work of one turn of the event loop.

    All that arrived while the turn before was worked off is read in one turn, and nothing else happens until it is
    answered. So if each turn ends in time, a request waits for the rest of one turn and for its own, however many
    others there are. Time in which the system let others compute is not counted: to refuse requests brings none of it
    back.
    """

    def __init__(self, seconds: float) -> None:
        """`seconds` are how long the requests of a turn may take before more of them are refused."""
        self._seconds = seconds
        self._computed = 0.0
        self._ends_at = 0.0
        self._is_begun = False
        self.is_draining = False
        """Whether the process was asked to end."""

    def is_spent(self) -> bool:
        """Whether this turn has taken as long as it may; to be asked before each request, which it then includes."""
        now = perf_counter()
        if not self._is_begun:
            self._is_begun = True
            self._ends_at = now + self._seconds
            asyncio.get_running_loop().call_soon(self._end)
        return now > self._ends_at and thread_time() - self._computed > self._seconds

    def note_time(self) -> None:
        """Notes how much this thread has computed so far; to be called several times a second, between turns."""
        self._computed = thread_time()

    def check(self) -> None:
        """Raises Problem (503) if this turn has taken as long as it may."""
        if self.is_spent():
            raise overload()

    def _end(self) -> None:
        self._is_begun = False
