"""MLflow; needs the extra `mlflow`.

Everything is sent by a thread of its own, several rows at a time, and sent again until the server has it: a server that
is down or slow costs training nothing.
"""

import sys
import threading
import time

from dqn_training.tracking.mlflow_run import ROWS_AT_ONCE, MlflowRun
from dqn_training.tracking.recorder import Outcome
from dqn_training.tracking.scalars import Row

_EVERY_SECONDS = 3.0  # between two sendings
_LAST_SECONDS = 20.0  # for what is left at the end of a run that published
_HURRY_SECONDS = 0.5  # the same when it was interrupted


class MlflowTracker:
    """Keeps rows until the tracking server has them."""

    def __init__(self, run: MlflowRun, uri: str) -> None:
        """`uri` is the server's address, for messages."""
        self._run = run
        self._uri = uri
        self._rows: list[tuple[int, Row]] = []  # time in ms, and the row
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._outcome: Outcome | None = None
        self._warned = self._complete = False
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def begin(self, _first_step: int) -> None:
        """Starts the thread."""
        self._thread.start()

    def log(self, row: Row) -> None:
        """Keeps the row for the next sending."""
        with self._lock:
            self._rows.append((time.time_ns() // 1_000_000, row))

    def close(self, outcome: Outcome | None) -> None:
        """Sends what is left, if the server takes it soon; says what it did not take."""
        if not self._thread.is_alive():
            return
        self._outcome = outcome
        self._ended.set()
        self._thread.join(_LAST_SECONDS if outcome else _HURRY_SECONDS)
        if not self._complete:
            rows = len(self._rows)
            missing = f"the last {rows} rows" if rows else "the end"
            self._say(f"did not get {missing} of this run; metrics.csv is complete.")

    def _work(self) -> None:
        while not self._ended.wait(_EVERY_SECONDS):
            self._attempt()
        self._attempt()

    def _attempt(self) -> None:
        """Sends all rows, and at the end the outcome; what fails is kept for the next attempt."""
        try:
            while self._rows:
                with self._lock:
                    rows = self._rows[:ROWS_AT_ONCE]
                self._run.send(rows)
                with self._lock:
                    del self._rows[: len(rows)]
            if self._ended.is_set():
                self._run.end(self._outcome)
                self._complete = True
        except Exception as error:  # noqa: BLE001  (a client of a service raises whatever its layers raise)
            if not self._warned:
                cause = " ".join(str(error).split())[:200]
                self._say(f"does not take this run's numbers: {cause}. Training goes on, and sending is tried again.")
            self._warned = True

    def _say(self, sentence: str) -> None:
        print(f"warning: MLflow at {self._uri} {sentence}", file=sys.stderr, flush=True)
