"""metrics.csv: a header and a row for each moment, in the order of time; complete up to the last row at any instant."""

import csv
import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dqn_models.durable import commit_replace, make_directory, write_temporary
from dqn_training.tracking.scalars import SCALARS, Row


class MetricsFile:
    """Appends rows. A file that cannot be written does not end training: its rows are written once that is possible."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._size = 0
        self._unwritten = b""
        self._warned = False

    def begin(self, env_steps: int, evaluations: int) -> Row | None:
        """Keeps the rows up to this moment and drops later ones; returns the last one that is left."""
        kept = [line for line in _lines(self._path) if _moment(line) <= (env_steps, evaluations)]
        text = "".join(",".join(line.get(name, "") for name in SCALARS) + "\n" for line in kept)
        self._unwritten = (",".join(SCALARS) + "\n" + text).encode()
        self._write()
        return {name: _number(kept[-1].get(name, "")) for name in SCALARS} if kept else None

    def append(self, row: Row) -> None:
        """Writes a row, at once."""
        self._unwritten += (",".join("" if value is None else repr(value) for value in row.values()) + "\n").encode()
        self._write()

    def _write(self) -> None:
        """Writes what is not yet written: the first time in place of the whole file, then behind it."""
        try:
            if self._descriptor is None:
                make_directory(self._path.parent)
                commit_replace(write_temporary(self._path, self._unwritten), self._path)
                self._descriptor, written = os.open(self._path, os.O_WRONLY), len(self._unwritten)
            else:
                written = os.pwrite(self._descriptor, self._unwritten, self._size)
        except OSError as error:
            self._warn(error)
            return
        self._size += written
        self._unwritten = self._unwritten[written:]

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            print(f"warning: {self._path} cannot be written: {error.strerror}. Training continues.", file=sys.stderr)
        self._warned = True


def read_metrics(path: Path) -> dict[str, NDArray[np.float64]]:
    """The columns of a metrics file, NaN where there is no number. Raises ValueError when it is none."""
    try:
        lines = _lines(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a metrics file.") from error
    if not lines:
        raise ValueError(f"{path} has no rows yet." if path.exists() else f"There is no {path}.")
    numbers = [{name: _number(cell) for name, cell in line.items()} for line in lines]
    return {name: np.array([line[name] for line in numbers], np.float64) for name in lines[0]}


def _lines(path: Path) -> list[dict[str, str]]:
    """The rows up to the first torn one, cells as they are written; none where there is no file."""
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
