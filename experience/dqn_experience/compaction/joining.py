"""Joins decisions and outcomes by episode and step. Of several records of a step, the first counts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqn_experience.compaction.episode_table import EpisodeTable, IntArray, JoinedEpisodes, JoinSettings
from dqn_experience.errors import DamagedError
from dqn_experience.log.model_log import ModelLog
from dqn_experience.log.reading import RowReader


def join(log: ModelLog, rows: RowReader, now: int, settings: JoinSettings, since: int = 0) -> JoinedEpisodes:
    """Joins what a log has, as of `now` in ms since 1970; the episodes that began from `since` on are released."""
    outcome_keys, outcome_rows, contradictions = _first_outcomes(log)
    order, doubtful = _first_decisions(log, rows)
    keys = _keys(log.decisions[order])
    places = np.minimum(np.searchsorted(outcome_keys, keys), max(0, len(outcome_keys) - 1))
    found = outcome_keys[places] == keys if len(outcome_keys) else np.zeros(len(keys), np.bool_)
    joined = np.where(found, outcome_rows[places] if len(outcome_rows) else -1, -1)
    table = EpisodeTable(log, order, joined, doubtful)
    unknown = len(outcome_keys) - int(found.sum())
    return table.released(settings, now, since)._replace(contradictions=contradictions, unknown=unknown)


def _keys(records: NDArray[Any]) -> NDArray[np.uint64]:
    keys: NDArray[np.uint64] = (records["episode"].astype(np.uint64) << np.uint64(32)) | records["step"]
    return keys


def _first_outcomes(log: ModelLog) -> tuple[NDArray[np.uint64], IntArray, int]:
    """Keys of outcomes, one per step; the indices of these outcomes; and how many others contradict them."""
    order, first, _ = _first_of_each(log.outcomes)
    here, there = log.outcomes[order], log.outcomes[order[first]][np.cumsum(first) - 1]
    executed = (here["executed"] != there["executed"]).reshape(len(here), max(1, log.width)).any(axis=1)
    differ = (here["reward"] != there["reward"]) | (here["end"] != there["end"]) | executed
    return _keys(here)[first], order[first], int(differ.sum())


def _first_decisions(log: ModelLog, rows: RowReader) -> tuple[IntArray, IntArray]:
    """Decisions by episode and step, without repeats; and the episodes with a repeat that differs."""
    order, first, repeated = _first_of_each(log.decisions)
    originals = order[first][np.cumsum(first) - 1][repeated]
    doubtful = {
        int(log.decisions["episode"][repeat])
        for repeat, original in zip(order[repeated].tolist(), originals.tolist(), strict=True)
        if not _is_same(log, rows, repeat, original)
    }
    return order[first], np.array(sorted(doubtful), np.int64)


def _first_of_each(records: NDArray[Any]) -> tuple[IntArray, NDArray[np.bool_], IntArray]:
    """The order by key, then by time; where in it a key occurs first; and where it is repeated."""
    keys = _keys(records)
    order = np.lexsort((records["time"], keys)).astype(np.int64)
    first = np.ones(len(order), np.bool_)
    first[1:] = keys[order][1:] != keys[order][:-1]
    return order, first, np.flatnonzero(~first)


def _is_same(log: ModelLog, rows: RowReader, repeat: int, original: int) -> bool:
    one, other = log.decisions[repeat], log.decisions[original]
    if not np.array_equal(one["action"], other["action"]):
        return False
    try:
        observations = [rows.fetch(int(each["run"]))[0][each["row"]] for each in (one, other)]
    except (DamagedError, FileNotFoundError):
        return False
    return bool(observations[0].tobytes() == observations[1].tobytes())
