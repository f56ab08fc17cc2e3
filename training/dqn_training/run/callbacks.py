"""Callbacks of a run: one interface for progress, plots, metrics, checkpoints and evaluations."""

import time

from dqn_training.learning.state import TrainingState


class Callback:
    """Is called at the beginning, at each step and at the end of a run; an exception ends the run.

    A subclass leaves out the methods that it does not need.
    """

    def begin(self, state: TrainingState) -> None:
        """Training begins, or resumes, at this state."""

    def step(self, state: TrainingState) -> None:
        """Every environment has taken a step."""

    def evaluating(self, state: TrainingState, steps: int, most: int) -> None:
        """An evaluation has taken so many environment steps of those that it may take; called at each of them."""

    def end(self, state: TrainingState) -> None:
        """Training has reached its end; not called when it was interrupted."""


class Clock(Callback):
    """Keeps the seconds that the run has taken, those before it was resumed included."""

    def begin(self, state: TrainingState) -> None:
        """Starts the clock where an earlier process stopped it."""
        self._started = time.perf_counter() - state.wall_seconds

    def step(self, state: TrainingState) -> None:
        """Reads the clock."""
        state.wall_seconds = time.perf_counter() - self._started

    end = step
