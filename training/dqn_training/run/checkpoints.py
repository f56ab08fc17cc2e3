"""Keeps the checkpoint of a run up to date while it trains, without taking much of its time."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dqn_training.checkpoint.store import CheckpointError, CheckpointFile
from dqn_training.checkpoint.values import State
from dqn_training.learning.state import TrainingState
from dqn_training.run.callbacks import Callback

_FRACTION = 0.02  # of the time that checkpoints may take


class Checkpoints(Callback):
    """Writes a checkpoint every few seconds; one that costs much is written less often."""

    def __init__(self, path: Path, seconds: float, say: Callable[[str], None]) -> None:
        """At least `seconds` lie between two checkpoints (0: there are none); `say` shows the user a sentence."""
        self._file = CheckpointFile(path)
        self._seconds = seconds = seconds or math.inf
        self._say = say
        self._due = time.perf_counter() + seconds
        self._said = ""
        self.cost_seconds = 0.0  # spent on all checkpoints of this process

    def last(self) -> State | None:
        """The last checkpoint, if there is one. Raises CheckpointError when it is damaged."""
        return self._file.read()

    def restore(self, state: TrainingState, last: State | None) -> None:
        """Resumes from the last checkpoint, if there is one, and says what the next ones will lack.

        Raises CheckpointError when the last one is another run's.
        """
        lacking = state.uncapturable() if self._seconds < math.inf else None
        if lacking:
            self._say(
                f"Checkpoints lack the state of these environments: {lacking}. After --resume new episodes begin, so "
                "that the result is another than without."
            )
        if last is None:
            return
        try:
            exact = state.resume(last)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{self._file.path} does not fit this run; another release of this program may have written it: "
                f"{error!r}."
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
        """Waits until the checkpoint that is being written is on the disk."""
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
