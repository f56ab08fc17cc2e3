"""Which failed calls are retried, and after how long."""

import logging
import random
import time
from dataclasses import dataclass

from dqn_client.errors import ConnectionLostError, NotReadyError, PolicyClientError

_log = logging.getLogger("dqn_client")


@dataclass(frozen=True)
class RetryPolicy:
    """How a client retries after a 502, 503, 504 or a lost or refused connection; `RetryPolicy(0)`: never.

    The backoff doubles from `initial_backoff` to `max_backoff`, and is shortened at random by up to half, so that
    clients that failed together do not return together. A `Retry-After` from the server is waited out in addition.
    """

    max_retries: int = 20
    """Maximum number of retries of a call."""
    deadline: float = 30.0
    """Seconds after the start of the call beyond which no retry begins."""
    initial_backoff: float = 0.05
    """Seconds before the first retry."""
    max_backoff: float = 2.0
    """Maximum seconds of backoff between two attempts."""

    def __post_init__(self) -> None:
        """Raises ValueError for a negative number or NaN."""
        for name in ("max_retries", "deadline", "initial_backoff", "max_backoff"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"RetryPolicy: {name} is {getattr(self, name)}; it must be 0 or more.")


class Attempts:
    """The attempts at one call so far."""

    def __init__(self, policy: RetryPolicy, *, may_repeat: bool = True) -> None:
        """`may_repeat`: whether the server may receive the call twice."""
        self._policy = policy
        self._may_repeat = may_repeat
        self._failures = 0
        self._deadline = time.monotonic() + policy.deadline

    def backoff_after(self, error: PolicyClientError) -> float:
        """Seconds to wait before the next attempt. Raises `error` if there should be none."""
        self._failures += 1
        if not self._is_transient(error) or self._failures > self._policy.max_retries:
            raise error
        backoff = self._backoff(error)
        if time.monotonic() + backoff > self._deadline:
            raise error
        level = logging.WARNING if self._failures == 1 else logging.INFO
        _log.log(level, "Attempt %d failed: %s Retrying in %.2f s.", self._failures, error, backoff)
        return backoff

    def _is_transient(self, error: PolicyClientError) -> bool:
        if isinstance(error, ConnectionLostError):
            return error.may_pass and (self._may_repeat or not error.was_open)
        return isinstance(error, NotReadyError)

    def _backoff(self, error: PolicyClientError) -> float:
        if self._failures == 1 and isinstance(error, ConnectionLostError) and error.was_open:
            return 0.0  # an idle connection had been closed; a new one will most likely work
        longest = min(self._policy.max_backoff, self._policy.initial_backoff * 2.0 ** min(self._failures - 1, 64))
        requested = (error.retry_after or 0.0) if isinstance(error, NotReadyError) else 0.0
        return requested + random.uniform(longest / 2, longest)  # noqa: S311  (spreads clients; hides nothing)
