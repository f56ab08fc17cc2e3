"""Keeps the checkpoint of a run up to date while it trains, without taking much of its time."""

import time
from collections.abc import Callable

from training.checkpoint_file import CheckpointError, CheckpointFile
from training.learning.state import TrainingState

_SHARE = 0.02  # of the time that checkpoints may take


class Checkpoints:
    """Writes a checkpoint every few seconds; one that costs much is written less often."""

    def __init__(self, file: CheckpointFile, seconds: float, tell: Callable[[str], None]) -> None:
        """`seconds` between two checkpoints at least; `tell` shows the user a sentence."""
        self._file = file
        self._seconds = seconds
        self._tell = tell
        self._due = time.perf_counter() + seconds
        self._failed = False
        self.cost_seconds = 0.0  # spent on all checkpoints of this process

    def resume(self, state: TrainingState) -> None:
        """Goes on from the checkpoint, if there is one. Raises CheckpointError when it is damaged or does not fit."""
        capture = self._file.read()
        if capture is None:
            return
        try:
            state.restore(capture)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{self._file.path} does not fit this run; another release of this program may have written it: "
                f"{error!r}."
            ) from error
        self._tell(f"Going on after {state.env_steps:,} environment steps.")

    def keep(self, state: TrainingState) -> None:
        """Writes a checkpoint if it is time; called after each step. A full disk is told, and training goes on."""
        started = time.perf_counter()
        if started < self._due:
            return
        try:
            self._file.write(state.capture())
        except OSError as error:
            if not self._failed:
                self._tell(f"Cannot write a checkpoint to {self._file.path}: {error.strerror}. Training goes on.")
            self._failed = True
        else:
            self._failed = False
        spent = time.perf_counter() - started
        self.cost_seconds += spent
        self._due = started + spent + max(self._seconds, spent / _SHARE)
