"""metrics.csv: a run's metrics and their file, which is complete up to the last row at any instant.

To add a metric, add an entry to SCALARS.
"""

import csv
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dqn_models.durable import commit_replace, make_directory, write_temporary

if TYPE_CHECKING:  # reading rows needs no torch
    from dqn_training.learning.state import TrainingState

Row = dict[str, float | None]
"""A value for each name in SCALARS; None if there is none yet."""


def _new_evaluation(state: "TrainingState", previous: Row) -> float | None:
    """The mean return of an evaluation since the previous row."""
    scores = state.selection.scores
    return scores[-1].mean if len(scores) > (previous.get("evaluations") or 0) else None


def _health(indicator: str) -> Callable[["TrainingState", Row], float | None]:
    """The latest value of a collapse indicator."""
    return lambda state, _: float(getattr(state.monitor.history[-1], indicator)) if state.monitor.history else None


def _steps_per_second(state: "TrainingState", previous: Row) -> float | None:
    """Environment steps per second since the previous row; the time includes evaluations."""
    steps = state.env_steps - (previous.get("env_steps") or 0)
    seconds = state.wall_seconds - (previous.get("wall_seconds") or 0.0)
    return round(steps / seconds, 1) if seconds > 0 else None


SCALARS: dict[str, Callable[["TrainingState", Row], float | None]] = {
    "env_steps": lambda state, _: state.env_steps,
    "gradient_steps": lambda state, _: state.agent.gradient_steps,
    "episodes": lambda state, _: len(state.episodes),
    "evaluations": lambda state, _: len(state.selection.scores),
    "evaluation_env_steps": lambda state, _: state.selection.env_steps,
    "evaluation_return": _new_evaluation,
    "training_return": lambda state, _: state.recent("total_reward"),
    "episode_length": lambda state, _: state.recent("length"),
    "loss": lambda state, _: None if state.loss is None else float(state.loss.mean()),
    "epsilon": lambda state, _: state.epsilon,
    "learning_rate": lambda state, _: state.agent.optimizer.learning_rate,
    **{name: _health(name) for name in ("terminal_share", "action_gap", "largest_q", "dormant_share")},
    "wall_seconds": lambda state, _: round(state.wall_seconds, 3),
    "steps_per_second": _steps_per_second,
}
"""Computes each column from the state of training and the previous row ({} for the first)."""


def make_row(state: "TrainingState", previous: Row) -> Row:
    """All scalars; non-finite values become None."""
    values = {name: scalar(state, previous) for name, scalar in SCALARS.items()}
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}


class MetricsFile:
    """Appends rows. If the file cannot be written, training continues and the rows are written once it can be."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._unwritten = b""
        self._warned = False

    def begin(self, env_steps: int, evaluations: int) -> Row | None:
        """Keeps the rows up to this point and drops later ones; returns the last remaining row, if any."""
        kept = [line for line in _lines(self._path) if _moment(line) <= (env_steps, evaluations)]
        text = "".join(",".join(line.get(name, "") for name in SCALARS) + "\n" for line in kept)
        self._unwritten = (",".join(SCALARS) + "\n" + text).encode()
        self._write()
        return {name: _number(kept[-1].get(name, "")) for name in SCALARS} if kept else None

    def append(self, row: Row) -> None:
        """Writes a row immediately."""
        self._unwritten += (",".join("" if value is None else repr(value) for value in row.values()) + "\n").encode()
        self._write()

    def _write(self) -> None:
        """Writes pending bytes: the first time by replacing the file, then by appending."""
        try:
            if self._descriptor is None:
                make_directory(self._path.parent)
                commit_replace(write_temporary(self._path, self._unwritten), self._path)
                self._descriptor, written = os.open(self._path, os.O_WRONLY | os.O_APPEND), len(self._unwritten)
            else:
                written = os.write(self._descriptor, self._unwritten)
        except OSError as error:
            if not self._warned:
                sentence = f"{self._path} cannot be written: {error.strerror}. Training continues."
                print(f"warning: {sentence}", file=sys.stderr)
            self._warned = True
            return
        self._unwritten = self._unwritten[written:]

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def read_metrics(path: Path) -> dict[str, NDArray[np.float64]]:
    """The columns of a metrics file, NaN where a cell is empty. Raises ValueError if it is not a metrics file."""
    try:
        lines = _lines(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a metrics file.") from error
    if not lines:
        raise ValueError(f"{path} has no rows yet." if path.exists() else f"There is no {path}.")
    numbers = [{name: _number(cell) for name, cell in line.items()} for line in lines]
    return {name: np.array([line[name] for line in numbers], np.float64) for name in lines[0]}


def _lines(path: Path) -> list[dict[str, str]]:
    """The rows up to the first incomplete one, with unparsed cells; none if there is no file."""
    if not path.exists():
        return []
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
    lines = []
    for line in csv.DictReader(whole.splitlines()):
        if None in line or None in line.values() or "env_steps" not in line:
            break
        lines.append(line)
    return lines


def _moment(line: dict[str, str]) -> tuple[float, float]:
    return _number(line["env_steps"]) or 0.0, _number(line.get("evaluations", "")) or 0.0


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
