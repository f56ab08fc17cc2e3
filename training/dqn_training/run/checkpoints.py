"""Writes the checkpoints of a run while it trains, without taking much of its time."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dqn_training.checkpoint.store import CheckpointError, CheckpointFile
from dqn_training.checkpoint.values import State
from dqn_training.learning.state import TrainingState
from dqn_training.run.callbacks import Callback

_FRACTION = 0.02  # of the run's time that checkpoints may take


class Checkpoints(Callback):
    """Writes a checkpoint every few seconds, less often if writing is slow."""

    def __init__(self, path: Path, seconds: float, say: Callable[[str], None]) -> None:
        """`seconds` is the minimum time between checkpoints (0: no checkpoints); `say` shows the user a sentence."""
        self._file = CheckpointFile(path)
        self._seconds = seconds = seconds or math.inf
        self._say = say
        self._due = time.perf_counter() + seconds
        self._said = ""
        self.cost_seconds = 0.0  # spent on all checkpoints of this process

    def last(self) -> State | None:
        """The last checkpoint, if there is one. Raises CheckpointError if it is damaged."""
        return self._file.read()

    def restore(self, state: TrainingState, last: State | None) -> None:
        """Resumes from the last checkpoint, if there is one, and reports what checkpoints cannot include.

        Raises CheckpointError if the last one does not fit this run.
        """
        lacking = state.uncapturable() if self._seconds < math.inf else None
        if lacking:
            self._say(
                f"Checkpoints cannot include the state of these environments: {lacking}. After --resume, new episodes "
                "start, so results will differ from an uninterrupted run."
            )
        if last is None:
            return
        try:
            exact = state.resume(last)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{self._file.path} does not fit this run; it may be from another release of this program: {error!r}."
            ) from error
        self._say(f"Resumed after {state.env_steps:,} environment steps{'' if exact else ' with new episodes'}.")

    def step(self, state: TrainingState) -> None:
        """Writes a checkpoint if one is due. A full disk is reported, and training continues."""
        started = time.perf_counter()
        if started < self._due:
            return
        with self._explained():
            if not self._file.settle(wait=False):
                return
            self._file.write(state.state_dict())
        spent = time.perf_counter() - started
        self.cost_seconds += spent
        self._due = started + spent + max(self._seconds, spent / _FRACTION)

    def end(self, _state: TrainingState) -> None:
        """Waits until the checkpoint that is being written is on disk."""
        with self._explained():
            self._file.settle()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            sentence = f"Cannot write a checkpoint to {self._file.path}: {error.strerror}. Training continues."
            if sentence != self._said:
                self._say(sentence)
            self._said = sentence
