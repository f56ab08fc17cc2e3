"""What a log has of one model, column by column; observations stay where they are until somebody needs them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dqn_experience.log.database import COLUMNS
from dqn_experience.records import Behavior, RecordedEpisode

ENDS = ("", "terminated", "truncated")
COPIED = {
    "step": "steps",
    "action": "actions",
    "propensity": "propensities",
    "epsilon": "epsilons",
    "passed": "passes",
}


def decision_dtype(width: int) -> np.dtype[Any]:
    """A decision without its observation: which episode's, when (ms since 1970), in which row of which run, by whom.

    `width` is the number of components of an action that branches, else 0.
    """
    shapes = {"action": (width,) if width else ()}
    copied = [(name, COLUMNS[column], shapes.get(name, ())) for name, column in COPIED.items()]
    fields: list[Any] = [("episode", "<i4"), ("time", "<i8"), ("run", "<i4"), ("row", "<u2"), ("behavior", "<i4")]
    return np.dtype([*fields, *copied])


def outcome_dtype(width: int) -> np.dtype[Any]:
    """An outcome without its observation; `end` is an index of ENDS, `executed` is -1 where it is what was decided."""
    fields = [("episode", "<i4"), ("step", "<u4"), ("time", "<i8"), ("reward", "<f8"), ("end", "u1")]
    return np.dtype([*fields, ("executed", "<i4", (width,) if width else ())])


class RunPlace(NamedTuple):
    """The file and row of a run."""

    path: Path
    number: int
    behavior: int


class SourceFile(NamedTuple):
    """What was found in a log file, for all models."""

    path: Path
    sealed: bool
    decisions: int
    outcomes: int
    episodes: int
    damaged_rows: int
    error: str
    """Why the rest of the file could not be read; empty if it could."""


class Imported(NamedTuple):
    """A whole episode from elsewhere."""

    time: int
    behavior: int
    recorded: RecordedEpisode


class ModelLog:
    """The log of one model.

    Attributes:
        behaviors: what chose actions; decisions refer to them by index.
        runs: where the observations of decisions are.
        names: of the episodes that decisions and outcomes refer to by index.
        decisions, outcomes: with the dtypes above, in the order of files and rows.
        final_observations: rows of outcomes that have them, by the index of the outcome.
        imported: whole episodes.
        sources: the files that were read.
    """

    def __init__(self, model: str, width: int = 0) -> None:
        """Starts empty."""
        self.model, self.width = model, width
        self.behaviors: list[Behavior] = []
        self.runs: list[RunPlace] = []
        self.decisions = np.empty(0, decision_dtype(width))
        self.outcomes = np.empty(0, outcome_dtype(width))
        self.final_observations: dict[int, bytes] = {}
        self.imported: list[Imported] = []
        self.sources: list[SourceFile] = []
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number_of(self, episode: str) -> int:
        """The index of an episode's name, which is added if it is missing."""
        number = self._numbers.setdefault(episode, len(self.names))
        if number == len(self.names):
            self.names.append(episode)
        return number

    def behavior(self, behavior: Behavior) -> int:
        """The index of a behavior, which is added if it is missing."""
        if behavior not in self.behaviors:
            self.behaviors.append(behavior)
        return self.behaviors.index(behavior)
