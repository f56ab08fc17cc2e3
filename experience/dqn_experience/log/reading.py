"""Reads a log, live and sealed files alike: what was decided and reported for one model, column by column.

Observations are not read until they are needed. Damaged records are left out and reported.
"""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqn_experience.errors import DamagedError
from dqn_experience.log import database
from dqn_experience.log.database import SEALED
from dqn_experience.log.files import LogFile, log_files
from dqn_experience.log.model_log import COPIED, ENDS, Imported, ModelLog, RunPlace, SourceFile
from dqn_experience.log.outcome_index import WHOLE_EPISODE, Key
from dqn_experience.records import Outcome, content_of

_CACHED_RUNS = 8


@contextlib.contextmanager
def opened_log(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a log file, which may have been sealed since its path was found."""
    with database.opened(path if path.exists() else path.with_suffix(SEALED)) as connection:
        yield connection


def models_in(store: Path) -> list[str]:
    """The models that appear in a log."""
    found: set[str] = set()
    for file in log_files(store):
        with contextlib.suppress(DamagedError, FileNotFoundError), opened_log(file.path) as connection:
            if not database.is_empty(connection):
                found |= {behavior.model for behavior in database.behaviors(connection).values()}
                found |= {model for (model,) in connection.execute("SELECT DISTINCT model FROM outcomes")}
    return sorted(found)


def read_log(store: Path, model: str, since: int = 0) -> ModelLog:
    """One model's part of a store's log; files with nothing at or after `since`, in ms since 1970, are skipped.

    Raises DamagedError for a file of a newer release, whose contents are unknown.
    """
    log = ModelLog(model, _width_of(store, model))
    decisions: list[NDArray[Any]] = []
    outcomes: list[NDArray[Any]] = []
    for file in log_files(store):
        with contextlib.suppress(FileNotFoundError):  # removed for the quota meanwhile
            source = _read_file(log, file, since, decisions, outcomes)
            if source is not None:
                log.sources.append(source)
    log.decisions = np.concatenate([log.decisions, *decisions])
    log.outcomes = np.concatenate([log.outcomes, *outcomes])
    return log


def _read_file(
    log: ModelLog, file: LogFile, since: int, decisions: list[NDArray[Any]], outcomes: list[NDArray[Any]]
) -> SourceFile | None:
    counts: Counter[str] = Counter()
    error = ""
    try:
        with opened_log(file.path) as connection:
            if database.is_empty(connection) or database.last_time(connection) < since:
                return None
            behaviors = {
                number: log.behavior(behavior)
                for number, behavior in database.behaviors(connection).items()
                if behavior.model == log.model
            }
            foreign = {number for (number,) in connection.execute("SELECT id FROM behaviors")} - set(behaviors)
            _read_outcomes(log, connection, outcomes, counts)
            _read_decisions(log, connection, file.path, (behaviors, foreign), decisions, counts)
            _read_imported(log, connection, (behaviors, foreign), counts)
    except DamagedError as damage:
        if "newer release" in str(damage):
            raise
        error = str(damage)
    return SourceFile(
        file.path, file.sealed, counts["decisions"], counts["outcomes"], counts["episodes"], counts["damaged"], error
    )


def _read_decisions(
    log: ModelLog,
    connection: sqlite3.Connection,
    path: Path,
    behaviors: tuple[dict[int, int], set[int]],
    found: list[NDArray[Any]],
    counts: Counter[str],
) -> None:
    ours, foreign = behaviors
    for number, run in database.read_runs(connection):
        if run is None or run.behavior not in ours:
            counts["damaged"] += run is None or run.behavior not in foreign
            continue
        columns, count = run.columns, len(run.columns["steps"])
        rows: NDArray[Any] = np.zeros(count, log.decisions.dtype)
        rows["episode"] = np.array([log.number_of(name) for name in run.episodes], np.int32)[columns["numbers"]]
        rows["time"] = run.time + columns["times"].astype(np.int64)
        rows["run"], rows["row"], rows["behavior"] = len(log.runs), np.arange(count), ours[run.behavior]
        for name, column in COPIED.items():
            rows[name] = columns[column] if name != "action" else _widened(columns[column], log.width)
        found.append(rows)
        log.runs.append(RunPlace(path, number, ours[run.behavior]))
        counts["decisions"] += count


def _read_outcomes(
    log: ModelLog, connection: sqlite3.Connection, found: list[NDArray[Any]], counts: Counter[str]
) -> None:
    begun = sum(map(len, found))
    for model, time, outcomes in database.read_outcomes(connection):
        if outcomes is None:
            counts["damaged"] += 1
            continue
        if model != log.model:
            continue
        for row, outcome in enumerate(outcomes):
            if outcome.observation is not None:
                log.final_observations[begun + row] = outcome.observation
        found.append(np.array([_outcome_row(log, outcome, time) for outcome in outcomes], log.outcomes.dtype))
        begun += len(outcomes)
        counts["outcomes"] += len(outcomes)


def _width_of(store: Path, model: str) -> int:
    """The number of components of the model's actions if they branch, else 0; the most that its versions had."""
    widths = [0]
    for file in log_files(store):
        with contextlib.suppress(DamagedError, FileNotFoundError), opened_log(file.path) as connection:
            if not database.is_empty(connection):
                found = database.behaviors(connection).values()
                widths += [len(behavior.branches) for behavior in found if behavior.model == model]
    return max(widths)


def _widened(actions: NDArray[Any], width: int) -> NDArray[Any]:
    """Indices of actions [n, width] from those of a version whose actions have fewer components."""
    if not width:
        return actions
    rows = np.zeros((len(actions), width), actions.dtype)
    rows[:, : actions.size // max(1, len(actions))] = actions.reshape(len(actions), -1)
    return rows


def _outcome_row(log: ModelLog, outcome: Outcome, time: int) -> tuple[int, int, int, float, int, int | list[int]]:
    executed = outcome.executed
    if log.width:
        executed = executed if isinstance(executed, list) and len(executed) == log.width else [-1] * log.width
    elif not isinstance(executed, int):
        executed = -1
    number = log.number_of(outcome.episode)
    return number, outcome.step, time, outcome.reward, ENDS.index(outcome.end), executed


def _read_imported(
    log: ModelLog, connection: sqlite3.Connection, behaviors: tuple[dict[int, int], set[int]], counts: Counter[str]
) -> None:
    ours, foreign = behaviors
    for behavior, time, recorded in database.read_episodes(connection):
        if recorded is None or behavior not in ours:
            counts["damaged"] += recorded is None or behavior not in foreign
            continue
        log.imported.append(Imported(time, ours[behavior], recorded))
        counts["episodes"] += 1


def recent_reports(store: Path, count: int) -> Iterator[tuple[Key, bytes]]:
    """The newest outcomes and whole episodes of a log, about `count` of them, with what makes them equal."""
    found = 0
    for file in reversed(log_files(store)):
        if found >= count:
            return
        with contextlib.suppress(DamagedError, FileNotFoundError), opened_log(file.path) as connection:
            if database.is_empty(connection):
                continue
            for model, _, outcomes in database.read_outcomes(connection):
                found += len(outcomes or ())
                for outcome in outcomes or ():
                    yield Key(model, outcome.episode, outcome.step), content_of(outcome)
            behaviors = database.behaviors(connection)
            for behavior, _, recorded in database.read_episodes(connection):
                if recorded is not None and behavior in behaviors:
                    yield Key(behaviors[behavior].model, recorded.episode, WHOLE_EPISODE), content_of(recorded)


class RowReader:
    """Fetches the observations and masks of runs."""

    def __init__(self, log: ModelLog) -> None:
        """Reads the runs that this log refers to."""
        self._log = log
        self.fetch = lru_cache(_CACHED_RUNS)(self._fetch)

    def _fetch(self, run: int) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
        """The observations [count] of a run, in its behavior's dtype, and the bits of its masks, or None.

        Raises DamagedError if they are not what was written, FileNotFoundError if they were removed.
        """
        place = self._log.runs[run]
        dtype = self._log.behaviors[place.behavior].dtype
        with opened_log(place.path) as connection:
            data, masks = database.read_rows(connection, place.number)
        rows: NDArray[Any] = np.frombuffer(data, dtype)
        return rows, None if masks is None else np.frombuffer(masks, np.uint8).reshape(len(rows), -1)
