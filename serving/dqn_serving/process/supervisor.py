"""Several workers on one port: starts them, replaces those that die, and forwards the signals that end the server.

This process forks, so it must have no threads and imports nothing that starts any; the workers import the rest.
"""

import contextlib
import mmap
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType

import structlog

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_MAX_START_ATTEMPTS = 5  # of a worker that is killed each time; one that exits by itself gets only one
_NOTE_BYTES = 1024
_STARTED = "started"
_SHORT_LIFE_SECONDS = 1.0  # a worker that dies sooner is replaced only after this pause: no busy loop

Work = Callable[[socket.socket, int, Callable[[], None]], None]

log = structlog.get_logger()


class Supervisor:
    """The parent of the workers. It keeps their sockets, so that connections to a dead one wait for its replacement."""

    def __init__(self, listeners: Sequence[socket.socket], work: Work) -> None:
        """Each worker runs `work` with its listener, its number from 0, and a function to call once it serves."""
        self._listeners = listeners
        self._work = work
        self._workers: dict[int, int] = {}  # by process id
        self._started_at = [0.0] * len(listeners)
        self._attempts = [0] * len(listeners)
        self._notes = [_Note() for _ in listeners]
        self._failure: str | None = None
        self._ended_by: int | None = None
        self._alive, self._keep_alive = os.pipe()  # closes when this process ends, however it ends

    def run(self) -> None:
        """Returns when SIGTERM has ended all workers.

        Raises KeyboardInterrupt if Ctrl-C has, and ChildProcessError if a worker cannot start.
        """
        for number in _SIGNALS:
            signal.signal(number, self._end)
        for worker in range(len(self._listeners)):
            self._start(worker)
        while self._workers:
            process, status = os.waitpid(-1, 0)
            worker = self._workers.pop(process, -1)  # -1: an orphan that process 1 of a container adopts
            if worker >= 0 and self._ended_by is None:
                code = os.waitstatus_to_exitcode(status)
                log.error("worker died", worker=worker, process=process, status=code)
                self._replace(worker, code)
        if self._failure is not None:
            raise ChildProcessError(self._failure)
        if self._ended_by == signal.SIGINT:
            raise KeyboardInterrupt

    def _replace(self, worker: int, code: int) -> None:
        """Starts a worker again, or gives up on one that cannot start."""
        note = self._notes[worker].read()
        if note != _STARTED and (code >= 0 or self._attempts[worker] >= _MAX_START_ATTEMPTS):
            reason = note.rstrip(".") or f"it ended with status {code}"
            self._failure = f"Worker {worker} could not start: {reason}. The log may say more."
            self._end(signal.SIGTERM, None)
            return
        if time.monotonic() - self._started_at[worker] < _SHORT_LIFE_SECONDS:
            time.sleep(_SHORT_LIFE_SECONDS)
        self._start(worker)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self._ended_by = number
        for listener in self._listeners:  # the workers hold their own, and close them when they are ready
            listener.close()
        for process in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def _start(self, worker: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # a signal now would miss the worker being forked
        try:
            if self._ended_by is not None:
                return
            process = os.fork()
            if process == 0:
                os._exit(self._live(worker))
            self._workers[process] = worker
            self._started_at[worker] = time.monotonic()
            self._attempts[worker] += 1
            log.info("worker started", worker=worker, process=process)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _live(self, worker: int) -> int:
        """Runs one worker, in its process; returns its exit status."""
        try:
            os.setpgid(0, 0)  # a terminal's Ctrl-C goes to the supervisor, which forwards it once
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.close(self._keep_alive)
            for listener in self._listeners:
                if listener is not self._listeners[worker]:
                    listener.close()
            threading.Thread(target=self._end_with_supervisor, daemon=True).start()
            self._work(self._listeners[worker], worker, partial(self._notes[worker].write, _STARTED))
        except KeyboardInterrupt:
            return 130
        except BaseException as error:
            if self._notes[worker].read() != _STARTED:
                self._notes[worker].write(f"{type(error).__name__}: {error}")
            log.exception("worker failed", worker=worker)
            return 1
        return 0

    def _end_with_supervisor(self) -> None:
        os.read(self._alive, 1)
        os.kill(os.getpid(), signal.SIGTERM)


class _Note:
    """What a worker reports to the supervisor: that it has started to serve, or why it failed."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _NOTE_BYTES)  # shared by both processes

    def write(self, text: str) -> None:
        self._memory[:] = text.encode(errors="replace")[:_NOTE_BYTES].ljust(_NOTE_BYTES, b"\0")

    def read(self) -> str:
        return self._memory[:].rstrip(b"\0").decode(errors="replace")
