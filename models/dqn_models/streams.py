"""Standard streams that cost a line at most: what cannot be written is dropped and counted, and the work continues.

A log or progress line may meet a reader that went away, a full disk, or a stream that was closed or never open.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

_lost = 0


def lost_writes() -> int:
    """How many writes to standard error this process has dropped."""
    return _lost


class _Tolerant(io.TextIOBase):
    """Passes text on to a stream; a write that fails, or that has no stream, is counted instead of raised."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        global _lost  # noqa: PLW0603  (one number for the process, whoever writes)
        try:
            if self._stream is None:
                raise OSError("The stream is closed.")
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: closed by somebody in this process
            _lost += 1
        return len(text)

    def flush(self) -> None:
        """Nothing is left to flush after a write."""

    def isatty(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def fileno(self) -> int:
        return 2 if self._stream is None else self._stream.fileno()

    def __getattribute__(self, name: str) -> Any:
        """`encoding`, `errors` and `buffer` are those of the stream."""
        if name in ("encoding", "errors", "buffer"):
            return getattr(self._stream, name, None)
        return super().__getattribute__(name)


@contextlib.contextmanager
def protected() -> Iterator[None]:
    """Makes standard error tolerant while the block runs, and opens closed standard streams on the null device.

    Without the latter the next file that the process opens would get the number of a standard stream, and would be
    written into by whatever prints. Standard output still raises: a result that does not arrive is a failure.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    out, error = sys.stdout, sys.stderr
    if isinstance(out, io.TextIOWrapper) and out.errors == "strict":
        out.reconfigure(errors="backslashreplace")  # a name that the stream's encoding lacks is shown all the same
    sys.stderr = _Tolerant(error)
    with contextlib.ExitStack() as stack:
        if out is None:
            sys.stdout = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123  (no path of ours)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = out, error


@contextlib.contextmanager
def tolerant_output() -> Iterator[None]:
    """Counts what cannot be written to standard output in the block, instead of raising."""
    out = sys.stdout
    with contextlib.redirect_stdout(_Tolerant(out)):
        yield


@contextlib.contextmanager
def output_to_stderr() -> Iterator[None]:
    """Sends what others print in the block, C libraries and child processes included, to standard error.

    So standard output has nothing but the result that a command prints after the block.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
