"""Writes rows of metrics at fixed environment steps and at evaluations, at almost no cost in between."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from dqn_models.layout import MANIFEST_FILE
from dqn_models.manifest import Manifest
from dqn_models.repository import ModelRepository
from dqn_training.config import DQNConfig
from dqn_training.learning.state import TrainingState
from dqn_training.run.callbacks import Callback
from dqn_training.tracking.metrics_csv import MetricsFile, Row, make_row


class Outcome(NamedTuple):
    """The result of a run."""

    manifest: Manifest
    repository: ModelRepository
    promoted: bool

    def files(self) -> dict[str, bytes]:
        """The published version's files by name."""
        model, version = self.manifest.model, self.manifest.version
        files = {name: self.repository.read_file(model, version, name) for name in self.manifest.files}
        return files | {MANIFEST_FILE: self.manifest.model_dump_json(indent=2).encode()}


class Tracker(Protocol):
    """Records rows in addition to the metrics file."""

    def begin(self, first_step: int) -> None:
        """The run starts or resumes: rows recorded from `first_step` (environment steps) on are void."""

    def log(self, row: Row) -> None:
        """Records a row. Never raises: a tracker that fails prints a warning, and training continues."""

    def close(self, outcome: Outcome | None) -> None:
        """The run has ended; the outcome is None if nothing was published."""


class Recorder(Callback):
    """Writes a row every `log_every` environment steps and at each evaluation; by steps, so that runs are repeatable.

    A resumed run continues the metrics file: rows written after its checkpoint are dropped, and the last remaining row
    determines when the next is due.
    """

    def __init__(self, config: DQNConfig, file: MetricsFile, trackers: Sequence[Tracker] = ()) -> None:
        self._log_every = config.log_every
        self._file = file
        self._trackers = trackers
        self._previous: Row = {}
        self._due = 0
        self._evaluations = 0
        self.outcome: Outcome | None = None
        """Set once the run has published; passed to the trackers when they close."""

    def begin(self, state: TrainingState) -> None:
        """Keeps the rows up to this state and drops later ones, written by a killed process."""
        self._follow(self._file.begin(state.env_steps, len(state.selection.scores)) or {})
        for tracker in self._trackers:
            tracker.begin(state.env_steps + 1)

    def step(self, state: TrainingState) -> None:
        """Writes a row if one is due."""
        if state.env_steps < self._due and len(state.selection.scores) == self._evaluations:
            return
        written = make_row(state, self._previous)
        self._file.append(written)
        for tracker in self._trackers:
            tracker.log(written)
        self._follow(written)

    end = step

    def close(self) -> None:
        """Closes the metrics file and the trackers."""
        self._file.close()
        for tracker in self._trackers:
            tracker.close(self.outcome)

    def _follow(self, previous: Row) -> None:
        """Schedules the next row after this one."""
        self._previous = previous
        steps, self._evaluations = (int(previous.get(name) or 0) for name in ("env_steps", "evaluations"))
        self._due = steps - steps % self._log_every + self._log_every
