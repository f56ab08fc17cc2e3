"""Deferred interrupts: SIGINT and SIGTERM take effect only after a critical section."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Interruptible = Callable[[], contextlib.AbstractContextManager[None]]
"""For a part of the block that may be interrupted after all."""


def end_when_asked() -> None:
    """For a child process: SIGTERM runs its `finally` blocks; Ctrl-C, which both get, is the parent's to answer."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what closes must not be interrupted by the next one
        sys.exit()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)


@contextlib.contextmanager
def deferred_interrupts() -> Iterator[Interruptible]:
    """Defers interrupts to the end of the block, except within the context manager that it yields."""
    arrived: list[int] = []
    previous = {number: signal.getsignal(number) for number in _SIGNALS}

    def keep(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)

    def hold() -> None:
        for number in _SIGNALS:
            signal.signal(number, keep)

    def release() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)
        while arrived:
            signal.raise_signal(arrived.pop(0))

    @contextlib.contextmanager
    def interruptible() -> Iterator[None]:
        try:
            release()
            yield
        finally:
            hold()

    hold()
    try:
        yield interruptible
    finally:
        release()
