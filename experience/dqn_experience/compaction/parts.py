"""Assembles the parts of a dataset: joined episodes with their observations, and whole ones from elsewhere."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dqn_experience.compaction.episode_table import IntArray, JoinedEpisodes
from dqn_experience.datasets import Part
from dqn_experience.errors import DamagedError
from dqn_experience.log.model_log import ENDS, Imported, ModelLog
from dqn_experience.log.reading import RowReader
from dqn_experience.records import Behavior, packed_masks


class Piece(NamedTuple):
    """An episode that goes into a dataset: a joined one by its number, or a whole one."""

    started: int
    number: int
    imported: Imported | None


class _Rows(NamedTuple):
    """Observations of decisions, bits of masks, whether there was a mask, and whether the observation is lost."""

    observations: NDArray[Any]
    masks: NDArray[np.uint8]
    masked: NDArray[np.bool_]
    damaged: NDArray[np.bool_]

    def cut(self, rows: slice) -> "_Rows":
        """The data of these rows."""
        return _Rows(self.observations[rows], self.masks[rows], self.masked[rows], self.damaged[rows])


def pieces(joined: JoinedEpisodes, log: ModelLog, since: int) -> list[Piece]:
    """All episodes of a dataset, in the order in which they began."""
    found = [Piece(started, number, None) for number, started in enumerate(joined.started.tolist())]
    names: set[str] = set()
    for imported in log.imported:
        if since <= imported.time < joined.watermark and imported.recorded.episode not in names:
            names.add(imported.recorded.episode)
            found.append(Piece(imported.time, -1, imported))
    return sorted(found, key=lambda piece: piece.started)


def split(found: list[Piece], joined: JoinedEpisodes, row_bytes: int, part_bytes: int) -> Iterator[list[Piece]]:
    """Splits episodes into parts with about this many bytes of observations."""
    chunk: list[Piece] = []
    size = 0
    for piece in found:
        steps = len(piece.imported.recorded.actions) if piece.imported else int(joined.used[piece.number])
        if chunk and size + steps * row_bytes > part_bytes:
            yield chunk
            chunk, size = [], 0
        chunk.append(piece)
        size += steps * row_bytes
    if chunk:
        yield chunk


class PartBuilder:
    """Builds parts from a log."""

    def __init__(self, log: ModelLog, joined: JoinedEpisodes, behavior: Behavior, rows: RowReader) -> None:
        """All episodes have observations and actions like those of `behavior`.

        Attributes:
            damaged: number of episodes left out because their observations are damaged or gone.
        """
        self._log, self._joined, self._behavior, self._rows = log, joined, behavior, rows
        self.damaged = 0
        self._versions = np.array([behavior.version for behavior in log.behaviors], np.int32)

    def build(self, chunk: list[Piece]) -> Part | None:
        """The arrays of these episodes, without those whose observations are damaged or gone; None if none is left."""
        own = iter(self._from_log([piece.number for piece in chunk if not piece.imported]))
        built = [self._from_elsewhere(piece.imported) if piece.imported else next(own) for piece in chunk]
        found = [(piece.started, part) for piece, part in zip(chunk, built, strict=True) if part is not None]
        self.damaged += len(chunk) - len(found)
        if not found:
            return None
        ordered = [part for _, part in found]
        if any("masks" in part for part in ordered):
            for part in ordered:
                part.setdefault("masks", packed_masks([None] * len(part["actions"]), self._behavior.n_actions))
        together = {name: np.concatenate([part[name] for part in ordered]) for name in ordered[0]}
        lengths = [len(part["actions"]) for part in ordered]
        started = np.array([started for started, _ in found], np.int64)
        return together | {"offsets": np.r_[0, np.cumsum(lengths)].astype(np.int64), "started": started}

    def _from_log(self, numbers: list[int]) -> "list[Part | None]":
        """A part for each of these joined episodes; every run is read once for all of them."""
        joined = self._joined
        places = [
            np.arange(joined.begins[number], joined.begins[number] + joined.used[number] + self._has_next(number))
            for number in numbers
        ]
        if not places:
            return []
        decisions = self._log.decisions[joined.rows[np.concatenate(places)]]
        rows = self._gather(decisions)
        found: list[Part | None] = []
        begin = 0
        for number, steps in zip(numbers, map(len, places), strict=True):
            here = slice(begin, begin + steps)
            found.append(
                self._episode(number, decisions[here], rows.cut(here)) if not rows.damaged[here].any() else None
            )
            begin += steps
        return found

    def _has_next(self, number: int) -> int:
        """1 if the last step is left out: without a final observation, the step's own serves as that."""
        return int(self._joined.begins[number + 1] - self._joined.begins[number] - self._joined.used[number])

    def _gather(self, decisions: NDArray[Any]) -> _Rows:
        dtype = self._behavior.dtype
        gathered = _Rows(
            np.zeros((len(decisions), *dtype.shape), dtype.base),
            np.repeat(packed_masks([None], self._behavior.n_actions), len(decisions), axis=0),
            np.zeros(len(decisions), np.bool_),
            np.zeros(len(decisions), np.bool_),
        )
        order = np.argsort(decisions["run"], kind="stable")
        for places in np.split(order, np.flatnonzero(np.diff(decisions["run"][order])) + 1):
            try:
                rows, bits = self._rows.fetch(int(decisions["run"][places[0]]))
            except (DamagedError, FileNotFoundError):
                gathered.damaged[places] = True
                continue
            gathered.observations[places] = rows[decisions["row"][places]]
            if bits is not None:
                gathered.masks[places] = bits[decisions["row"][places]]
                gathered.masked[places] = True
        return gathered

    def _episode(self, number: int, decisions: NDArray[Any], rows: _Rows) -> Part:
        joined, used = self._joined, int(self._joined.used[number])
        begin = int(joined.begins[number])
        steps = slice(begin, begin + used)
        observations = rows.observations
        if (
            len(observations) == used
        ):  # the end was reported: the final observation comes with it, unless nobody needs it
            final = self._log.final_observations.get(int(joined.final[number]))
            last = observations[-1:] if final is None else np.frombuffer(final, self._behavior.dtype)
            observations = np.concatenate([observations, last])
        decisions = decisions[:used]
        actions = self._narrowed(decisions["action"])
        executed = self._narrowed(joined.executed[steps])
        versions = self._versions[decisions["behavior"]]
        name = self._log.names[int(joined.names[number])]
        part = _described(name, int(joined.ends[number]), float(decisions["passed"].min()), versions, imported=False)
        part |= {
            "observations": observations,
            "actions": actions,
            "executed": np.where(executed < 0, actions, executed),
            "rewards": joined.rewards[steps],
            "propensities": decisions["propensity"].astype(np.float32),
            "epsilons": decisions["epsilon"].astype(np.float32),
            "versions": versions,
        }
        if rows.masked.any():
            part["masks"] = rows.masks[:used]
        return part

    def _narrowed(self, actions: NDArray[Any]) -> NDArray[np.int32]:
        """Indices with as many components as the behavior's; other versions may have had more."""
        components = len(self._behavior.branches)
        if actions.ndim > 1:
            actions = actions[:, :components] if components else actions[:, 0]
        return actions.astype(np.int32)

    def _from_elsewhere(self, imported: Imported) -> Part:
        recorded, dtype = imported.recorded, self._behavior.dtype
        steps = len(recorded.actions)
        actions = np.array(recorded.actions, np.int32)
        propensities = recorded.propensities or [np.nan] * steps
        versions = np.full(steps, self._versions[imported.behavior], np.int32)
        part = _described(recorded.episode, ENDS.index(recorded.end), 1.0, versions, imported=True)
        return part | {
            "observations": np.frombuffer(recorded.observations, dtype),
            "actions": actions,
            "executed": actions,
            "rewards": np.array(recorded.rewards, np.float64),
            "propensities": np.array(propensities, np.float32),
            "epsilons": np.full(steps, np.nan, np.float32),
            "versions": versions,
        }


def _described(name: str, end: int, passed: float, versions: IntArray | NDArray[np.int32], *, imported: bool) -> Part:
    return {
        "names": np.array([name.encode()], "S64"),
        "ends": np.array([end], np.uint8),
        "passed": np.array([passed], np.float64),
        "mixed": np.array([len(np.unique(versions)) > 1]),
        "imported": np.array([imported]),
        "wrong": np.zeros(1, np.uint32),
    }
