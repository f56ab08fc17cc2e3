"""Standard streams that drop what cannot be written: progress output must never stop the work that it reports.

If a pipe's reader goes away or stalls, the disk is full, or a stream was closed before the command started, only the
affected lines are lost, and they are counted. Writing resumes as soon as it is possible.
"""

import contextlib
import io
import os
import select
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

_PATIENCE_MILLISECONDS = 100  # for a slow reader; once a line is lost, writes do not wait until it reads again


_lost = 0


def lost_writes() -> int:
    """Number of lines that this process has failed to write to its standard streams."""
    return _lost


class LossyStream(io.TextIOBase):
    """A text stream whose `write` never raises.

    It is unbuffered and writes whole lines, so several processes may share a file.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """Wraps `stream`; None, Python's value for a stream that was closed at startup, drops everything."""
        self._stream = stream
        self._is_cut = False  # the last line was written in part
        self._is_losing = False
        self._poll: select.poll | None = None
        self.on_loss: Callable[[int], None] | None = None
        """Called with the number of lines that a write lost."""

    def write(self, text: str) -> int:
        """Writes text, or counts its lines as lost; returns the length of the text either way."""
        if text and not self._try_write(text):
            self._is_losing = True
            global _lost  # noqa: PLW0603  (one count for the whole process)
            lines = text.count("\n")
            _lost += lines
            if lines and self.on_loss is not None:
                self.on_loss(lines)
        return len(text)

    def _try_write(self, text: str) -> bool:
        if self._stream is None:
            return False
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError):  # not a file, as in a test
            return self._delegate(text)
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLOUT)
        data = text.encode(self._stream.encoding or "utf-8", "backslashreplace")
        data = b"\n" + data if self._is_cut else data
        try:
            while data:
                if not self._poll.poll(0 if self._is_losing else _PATIENCE_MILLISECONDS):
                    return False
                written = os.write(descriptor, data[: select.PIPE_BUF])
                self._is_cut = written < len(data)
                data = data[written:]
        except OSError:
            return False
        self._is_losing = False
        return True

    def _delegate(self, text: str) -> bool:
        try:
            self._stream.write(text)  # type: ignore[union-attr]  # the only caller has checked it
        except (OSError, ValueError):
            return False
        return True

    def flush(self) -> None:
        """Flushes the stream, ignoring failures."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._stream.flush()  # type: ignore[union-attr]  # None has no flush

    def isatty(self) -> bool:
        """Whether the stream is an open terminal."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The file descriptor. Raises OSError for a stream without one."""
        if self._stream is None:
            raise io.UnsupportedOperation("The stream was closed before the command began.")
        return self._stream.fileno()

    def __getattr__(self, name: str) -> Any:
        """Other attributes, such as the encoding, are those of the wrapped stream."""
        return getattr(self._stream, name)


@contextlib.contextmanager
def protected() -> Iterator[None]:
    """Makes standard error a LossyStream within the block, and opens closed standard streams on the null device.

    Otherwise the next file that the process opens would get the descriptor of a standard stream, and whatever prints
    would write into it. Standard output still raises: a result that does not arrive is a failure.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is this one
    out, error = sys.stdout, sys.stderr
    if isinstance(out, io.TextIOWrapper) and out.errors == "strict":
        out.reconfigure(errors="backslashreplace")  # show names that the stream's encoding lacks
    sys.stderr = LossyStream(error)
    with contextlib.ExitStack() as stack:
        if out is None:
            sys.stdout = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123  (os.devnull is a str)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = out, error


@contextlib.contextmanager
def tolerant_output() -> Iterator[None]:
    """Drops and counts what cannot be written to standard output within the block, instead of raising."""
    out = sys.stdout
    with contextlib.redirect_stdout(LossyStream(out)):
        yield


@contextlib.contextmanager
def output_to_stderr() -> Iterator[None]:
    """Redirects everything printed within the block, by C libraries and child processes too, to standard error.

    Standard output then carries only the result that the command prints after the block.
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
