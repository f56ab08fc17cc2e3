"""Callbacks of a run: one interface for progress, plots, metrics, checkpoints and evaluations."""

import time

from dqn_training.learning.state import TrainingState


class Callback:
    """Called at the beginning, at every step and at the end of a run; an exception ends the run.

    Subclasses override only the methods that they need.
    """

    def begin(self, state: TrainingState) -> None:
        """Training starts or resumes from this state."""

    def step(self, state: TrainingState) -> None:
        """Every environment has taken one step."""

    def evaluating(self, state: TrainingState, steps: int, most: int) -> None:
        """An evaluation has taken `steps` of at most `most` environment steps."""

    def end(self, state: TrainingState) -> None:
        """Training has finished; not called after an interrupt."""


class Clock(Callback):
    """Updates the run's wall-clock time, including the time before it was resumed."""

    def begin(self, state: TrainingState) -> None:
        """Continues from the time of earlier processes."""
        self._started = time.perf_counter() - state.wall_seconds

    def step(self, state: TrainingState) -> None:
        """Updates `state.wall_seconds`."""
        state.wall_seconds = time.perf_counter() - self._started

    end = step
