"""Admission control: accepts as many requests as can be answered soon, and refuses the others at once."""

import asyncio
from time import perf_counter, thread_time

from dqn_serving.problems import Problem


def overload() -> Problem:
    """The problem (503) of a request that is not admitted."""
    return Problem(503, "The server is overloaded (DQN_MAX_WAITING_SECONDS); retry later.")


class Admission:
    """Limits the work of one turn of the event loop.

    Everything that arrived during the previous turn is read in one turn, and nothing else happens until it is answered.
    So if each turn ends in time, a request waits for the rest of one turn and for its own, however many others there
    are. Time during which other processes had the core is not counted: refusing requests would not win it back.
    """

    def __init__(self, seconds: float) -> None:
        """`seconds` is how long the requests of a turn may take before further ones are refused."""
        self._seconds = seconds
        self._computed = 0.0
        self._ends_at = 0.0
        self._is_begun = False
        self.is_draining = False
        """Whether the process has been asked to stop."""

    def is_spent(self) -> bool:
        """Whether this turn has used up its time; to be called before each request, which then counts as part of it."""
        now = perf_counter()
        if not self._is_begun:
            self._is_begun = True
            self._ends_at = now + self._seconds
            asyncio.get_running_loop().call_soon(self._end)
        return now > self._ends_at and thread_time() - self._computed > self._seconds

    def note_time(self) -> None:
        """Records the CPU time of this thread so far; to be called several times a second, between turns."""
        self._computed = thread_time()

    def check(self) -> None:
        """Raises Problem (503) if this turn has used up its time."""
        if self.is_spent():
            raise overload()

    def _end(self) -> None:
        self._is_begun = False
