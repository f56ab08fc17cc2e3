"""Makes a dataset of a model's new experience in the log. Repeated, or after a kill, it makes the same dataset.

Its only state is in the datasets themselves: each one records up to which watermark of start times it goes.
"""

import hashlib
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqn_experience import datasets
from dqn_experience.compaction.audit import Auditor, QValues
from dqn_experience.compaction.drift import DriftSample
from dqn_experience.compaction.episode_table import JoinedEpisodes, JoinSettings
from dqn_experience.compaction.joining import join
from dqn_experience.compaction.parts import PartBuilder, Piece, pieces, split
from dqn_experience.datasets import DatasetManifest, Part, PartFile, Source
from dqn_experience.log import files
from dqn_experience.log.database import SEALED
from dqn_experience.log.model_log import ENDS, ModelLog, SourceFile
from dqn_experience.log.reading import RowReader, read_log
from dqn_experience.records import Behavior
from dqn_models import durable

LOCK = ".compact.lock"
_PART_BYTES = 64 << 20


@dataclass(frozen=True)
class Compacted:
    """The result of compacting the log of a model.

    Attributes:
        dataset: its manifest; None if nothing was released.
        open_episodes: how many episodes are not closed yet.
        dropped: closed episodes that were left out, by reason.
    """

    dataset: DatasetManifest | None
    open_episodes: int
    dropped: dict[str, int] = field(default_factory=dict)


def compact(
    store: Path,
    model: str,
    settings: JoinSettings | None = None,
    *,
    q_values: QValues | None = None,
    now: int | None = None,
    part_bytes: int = _PART_BYTES,
) -> Compacted:
    """Releases the closed episodes of a model into a dataset; audits it if `q_values` is given.

    `now` is in ms since 1970 (default: the current time). Raises DamagedError for a log file of a newer release,
    dqn_models.errors.RepositoryError if another process is compacting this model, and OSError.
    """
    folder = datasets.folder_of(store, model)
    with durable.exclusive_lock(folder / LOCK, "another compaction", 0.0):
        files.adopt(store)
        compaction = _Compaction(store, model, settings or JoinSettings(), q_values, part_bytes)
        return compaction.run(time.time_ns() // 1_000_000 if now is None else now)


class _Compaction:
    """One dataset on its way from the log to the disk."""

    def __init__(
        self, store: Path, model: str, settings: JoinSettings, q_values: QValues | None, part_bytes: int
    ) -> None:
        self._store, self._model, self._settings, self._q_values = store, model, settings, q_values
        self._part_bytes = part_bytes
        numbers = datasets.numbers(store, model)
        self._before = datasets.manifest(store, model, numbers[-1]) if numbers else None
        self._since = self._before.watermark if self._before else 0

    def run(self, now: int) -> Compacted:
        log = read_log(self._store, self._model, self._since)
        rows = RowReader(log)
        behavior = _newest(log)
        if behavior is None:
            return Compacted(None, 0)
        size = behavior.dtype.itemsize
        log.final_observations = {row: data for row, data in log.final_observations.items() if len(data) == size}
        joined = join(log, rows, now, self._settings, self._since)
        found = pieces(joined, log, self._since)
        fitting = [piece for piece in found if _fits(piece, joined, log, behavior)]
        dropped = joined.dropped + Counter(
            {"other_spaces": len(found) - len(fitting)} if len(found) > len(fitting) else {}
        )
        if not fitting:
            return Compacted(None, joined.open_episodes, dict(dropped))
        builder = PartBuilder(log, joined, behavior, rows)
        number = datasets.begin(self._store, self._model)
        facts = _Summary(log.behaviors, behavior.n_actions, self._q_values)
        folder = datasets.folder_of(self._store, self._model) / str(number)
        written: dict[str, PartFile] = {}
        for chunk in split(fitting, joined, size, self._part_bytes):
            part = builder.build(chunk)
            if part is not None:
                facts.add(part)
                name, file = datasets.write_part(folder, len(written) + 1, part)
                written[name] = file
        if builder.damaged:
            dropped["damaged"] += builder.damaged
        described = self._described(number, log, joined, behavior, facts, written, dropped)
        datasets.commit(folder, described)
        return Compacted(described, joined.open_episodes, dict(dropped))

    def _described(
        self,
        number: int,
        log: ModelLog,
        joined: JoinedEpisodes,
        behavior: Behavior,
        facts: "_Summary",
        written: dict[str, PartFile],
        dropped: "Counter[str]",
    ) -> DatasetManifest:
        return DatasetManifest(
            model=self._model,
            dataset=number,
            created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            since=self._since,
            watermark=joined.watermark,
            row=behavior.row,
            n_actions=behavior.n_actions,
            branches=behavior.branches,
            episodes=sum(file.episodes for file in written.values()),
            steps=sum(file.steps for file in written.values()),
            imported=facts.imported,
            ends=dict(facts.ends),
            versions={str(version): count for version, count in sorted(facts.versions.items())},
            returns=facts.returns(),
            dropped=dict(dropped),
            open_episodes=joined.open_episodes,
            contradictions=joined.contradictions,
            unknown_outcomes=joined.unknown,
            settings=asdict(self._settings),
            behaviors=log.behaviors,
            sources=[_source(source) for source in log.sources],
            files=written,
            audit=facts.auditor.result if facts.auditor else None,
            drift=facts.sample.bins(self._before.drift if self._before else []),
        )


class _Summary:
    """What a manifest records about the parts of a dataset."""

    def __init__(self, behaviors: list[Behavior], n_actions: int, q_values: QValues | None) -> None:
        self.ends: Counter[str] = Counter()
        self.versions: Counter[int] = Counter()
        self.imported = 0
        self.sample = DriftSample()
        self.auditor = Auditor(behaviors, n_actions, q_values) if q_values else None
        self._returns: list[NDArray[np.float64]] = []

    def add(self, part: Part) -> None:
        """Takes a part into account, and enters what its audit found."""
        if self.auditor:
            part["wrong"] = self.auditor.audit(part)
        self.sample.add(part)
        self.imported += int(part["imported"].sum())
        self.ends.update(ENDS[end] or "abandoned" for end in part["ends"].tolist())
        self.versions.update(part["versions"].tolist())
        self._returns.append(np.add.reduceat(part["rewards"], part["offsets"][:-1]))

    def returns(self) -> dict[str, float]:
        """The undiscounted returns of the episodes."""
        if not self._returns:
            return {}
        values = np.concatenate(self._returns)
        found = {"mean": values.mean(), "std": values.std(), "min": values.min(), "max": values.max()}
        return {name: float(value) for name, value in found.items()}


def _newest(log: ModelLog) -> Behavior | None:
    """The behavior whose observations and actions a dataset has: that of the newest version."""
    return max(log.behaviors, key=lambda behavior: behavior.version, default=None)


def _fits(piece: Piece, joined: JoinedEpisodes, log: ModelLog, wanted: Behavior) -> bool:
    if piece.imported:
        used = {piece.imported.behavior}
    else:
        steps = joined.rows[joined.begins[piece.number] : joined.begins[piece.number + 1]]
        used = set(np.unique(log.decisions["behavior"][steps]).tolist())
    return all(log.behaviors[number].space == wanted.space for number in used)


def _source(file: SourceFile) -> Source:
    path = file.path.with_suffix(SEALED) if file.sealed else file.path
    sha256: Any = None
    if file.sealed and path.exists():
        with path.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    return Source(path.name, sha256, file.decisions, file.outcomes, file.episodes, file.damaged_rows, file.error)
