"""When a failed call is tried again, and after what pause."""

import logging
import random
import time
from dataclasses import dataclass

from dqn_client.errors import ConnectionLostError, NotReadyError, PolicyClientError

_log = logging.getLogger("dqn_client")


@dataclass(frozen=True)
class Retries:
    """How persistent a client is after a 502, 503, 504 or a lost or refused connection; `Retries(0)`: not at all.

    Pauses double from `first_pause` to `longest_pause` and are shortened at random by up to half, so that clients
    that failed together do not come back together; a `Retry-After` of the server is waited out in addition.
    """

    count: int = 20
    """Most repetitions of a call."""
    seconds: float = 30.0
    """No repetition begins later than this after the call."""
    first_pause: float = 0.05
    """Seconds."""
    longest_pause: float = 2.0
    """Seconds."""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that makes no sense."""
        for name in ("count", "seconds", "first_pause", "longest_pause"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"Retries: {name} is {getattr(self, name)}; it must be 0 or more.")


class Attempts:
    """The attempts at one call so far."""

    def __init__(self, retries: Retries, *, may_repeat: bool = True) -> None:
        """`may_repeat`: whether the call may reach the server twice."""
        self._retries = retries
        self._may_repeat = may_repeat
        self._failures = 0
        self._deadline = time.monotonic() + retries.seconds

    def pause_after(self, error: PolicyClientError) -> float:
        """Seconds to wait before the next attempt. Raises the error where there is none."""
        self._failures += 1
        if not self._is_passing(error) or self._failures > self._retries.count:
            raise error
        pause = self._pause(error)
        if time.monotonic() + pause > self._deadline:
            raise error
        level = logging.WARNING if self._failures == 1 else logging.INFO
        _log.log(level, "Attempt %d failed: %s Trying again in %.2f s.", self._failures, error, pause)
        return pause

    def _is_passing(self, error: PolicyClientError) -> bool:
        if isinstance(error, ConnectionLostError):
            return error.may_pass and (self._may_repeat or not error.was_open)
        return isinstance(error, NotReadyError)

    def _pause(self, error: PolicyClientError) -> float:
        if self._failures == 1 and isinstance(error, ConnectionLostError) and error.was_open:
            return 0.0  # a kept connection had ended; a new one will most likely do
        longest = min(self._retries.longest_pause, self._retries.first_pause * 2.0 ** min(self._failures - 1, 64))
        asked = (error.retry_after or 0.0) if isinstance(error, NotReadyError) else 0.0
        return asked + random.uniform(longest / 2, longest)  # noqa: S311  (spreads clients; hides nothing)
