"""Datasets: immutable, numbered, hashed extracts of closed episodes, for training.

    datasets/cartpole/12/part-00001.npz    episodes in the order in which they began; no pickles
    datasets/cartpole/12/manifest.json     written last, create-if-absent: a dataset exists if and only if this does

The same log gives the same bytes in every part.
"""

import hashlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from dqn_experience.errors import DamagedError, ExperienceError
from dqn_experience.log.model_log import ENDS
from dqn_experience.records import Behavior, dtype_of, unpacked_masks
from dqn_models import durable
from dqn_models.layout import check_model_name, version_number

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"

Part = dict[str, NDArray[Any]]
"""Arrays of a part, by name: E episodes with S steps in all.

observations [S + E], rows, of which an episode with T steps has T + 1; actions, executed [S], indices, or [S, branches]
if actions branch, the latter what was actually executed; rewards, propensities, epsilons, versions [S]; masks
[S, bytes], bits, if there are any; offsets [E + 1], where an episode's steps begin; names, started (ms since 1970),
ends (0 abandoned, 1 terminated, 2 truncated), passed (the probability with which the episode was recorded), mixed
(several versions acted), imported, wrong (propensities that the audit found wrong) [E].
"""


class PartFile(msgspec.Struct, frozen=True):
    """A file of a dataset."""

    size: int
    sha256: str
    episodes: int
    steps: int


class Source(msgspec.Struct, frozen=True):
    """A file of the log that a dataset was made from; `sha256` is null if it was still being written."""

    file: str
    sha256: str | None
    decisions: int
    outcomes: int
    episodes: int
    damaged_rows: int
    error: str = ""


class Audit(msgspec.Struct, frozen=True):
    """The result of recomputing every propensity from the versions' own `model.onnx`.

    Attributes:
        checked: propensities that were recomputed.
        wrong: those that are not what the version, its epsilon and the mask give.
        ties: those for which two Q-values are so close that the order of additions decides; they count as correct.
        skipped: those without a version, or with one that is gone.
    """

    checked: int
    wrong: int
    ties: int
    skipped: int


class FeatureBins(msgspec.Struct, frozen=True):
    """A histogram of one number of the observation, from one step per episode; the last bin has non-finite values."""

    name: str
    edges: list[float]
    counts: list[int]


class DatasetManifest(msgspec.Struct, frozen=True):
    """What is known about a dataset. Times are ms since 1970.

    Attributes:
        since, watermark: it has the episodes that began at or after `since` and before `watermark`.
        row: dtype of a row, as `records.row_of` writes it.
        ends: episodes by how they ended.
        versions: steps by the version that acted.
        returns: mean, std, min and max of the episodes' sums of rewards.
        dropped: closed episodes that were left out, by reason.
        open_episodes: those that were not closed.
        contradictions, unknown_outcomes: outcomes that contradicted an earlier one, or had no decision.
    """

    model: str
    dataset: int
    created_at: str
    since: int
    watermark: int
    row: dict[str, Any]
    n_actions: int
    branches: tuple[int, ...]
    episodes: int
    steps: int
    imported: int
    ends: dict[str, int]
    versions: dict[str, int]
    returns: dict[str, float]
    dropped: dict[str, int]
    open_episodes: int
    contradictions: int
    unknown_outcomes: int
    settings: dict[str, float | None]
    behaviors: list[Behavior]
    sources: list[Source]
    files: dict[str, PartFile]
    audit: Audit | None
    drift: list[FeatureBins]
    schema_version: int = SCHEMA_VERSION


class Episode(NamedTuple):
    """An episode of a dataset with T steps; see Part for its arrays."""

    name: str
    observations: NDArray[Any]
    actions: NDArray[np.int32]
    executed: NDArray[np.int32]
    rewards: NDArray[np.float64]
    propensities: NDArray[np.float32]
    versions: NDArray[np.int32]
    masks: NDArray[np.bool_] | None
    terminated: bool
    truncated: bool
    """Neither if it was abandoned: then also bootstrap from its last observation."""
    passed: float


def models(store: Path) -> list[str]:
    """The models that a store has datasets of."""
    return sorted(path.name for path in (store / "datasets").glob("[!.]*") if path.is_dir())


def folder_of(store: Path, model: str) -> Path:
    """The folder of a model's datasets."""
    check_model_name(model)
    return store / "datasets" / model


def numbers(store: Path, model: str) -> list[int]:
    """The datasets of a model, the oldest first."""
    found = (path for path in folder_of(store, model).glob("*") if (path / MANIFEST).exists())
    return sorted(number for path in found if (number := version_number(path.name)))


def manifest(store: Path, model: str, number: int) -> DatasetManifest:
    """The manifest of a dataset. Raises DamagedError if it does not parse, ExperienceError if it does not exist."""
    path = folder_of(store, model) / str(number) / MANIFEST
    try:
        found = msgspec.json.decode(path.read_bytes(), type=DatasetManifest)
    except FileNotFoundError as error:
        there = ", ".join(map(str, numbers(store, model))) or "none yet"
        raise ExperienceError(f"{model} has no dataset {number}; it has {there}.") from error
    except msgspec.MsgspecError as error:
        raise DamagedError(f"{path} is not the manifest of a dataset: {error}.") from error
    if found.schema_version > SCHEMA_VERSION:
        raise DamagedError(
            f"{path} has schema version {found.schema_version}, of a newer release; this one reads up to "
            f"{SCHEMA_VERSION}. Upgrade it."
        )
    return found


def resolve(store: Path, reference: str) -> tuple[str, int]:
    """The model and the number that `MODEL`, `MODEL@latest` or `MODEL@12` stands for. Raises ExperienceError."""
    model, _, wanted = reference.partition("@")
    found = numbers(store, model)
    number = version_number(wanted) if wanted not in {"", "latest"} else max(found, default=None)
    if number is None and wanted in {"", "latest"}:
        raise ExperienceError(f"{model} has no dataset in {store} yet. Make one: dqn-experience compact {model}")
    if number not in found:
        raise ExperienceError(f"{reference} names no dataset; {model} has {', '.join(map(str, found)) or 'none yet'}.")
    return model, number


def begin(store: Path, model: str) -> int:
    """Reserves the next number and creates its folder. The caller holds the model's lock."""
    folder = folder_of(store, model)
    taken = [number for path in folder.glob("*") if (number := version_number(path.name))]
    number = max(taken, default=0) + 1
    durable.make_directory(folder / str(number))
    return number


def write_part(folder: Path, number: int, part: Part) -> tuple[str, PartFile]:
    """Writes a part durably; returns its name and its entry in the manifest."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **part)
    data = buffer.getvalue()
    name = f"part-{number:05}.npz"
    durable.write_file(folder / name, data)
    steps = len(part["actions"])
    return name, PartFile(len(data), hashlib.sha256(data).hexdigest(), len(part["names"]), steps)


def commit(folder: Path, described: DatasetManifest) -> None:
    """Writes the manifest, which makes the dataset exist."""
    durable.sync_directory(folder)
    data = msgspec.json.format(msgspec.json.encode(described), indent=1) + b"\n"
    durable.commit_new(durable.write_temporary(folder / MANIFEST, data), folder / MANIFEST)


def parts(store: Path, described: DatasetManifest) -> Iterator[Part]:
    """The parts of a dataset. Raises DamagedError for one whose size or SHA-256 differs from the manifest."""
    folder = folder_of(store, described.model) / str(described.dataset)
    for name, file in described.files.items():
        try:
            data = (folder / name).read_bytes()
        except FileNotFoundError as error:
            raise DamagedError(f"{folder / name} is gone.") from error
        if len(data) != file.size or hashlib.sha256(data).hexdigest() != file.sha256:
            raise DamagedError(f"{folder / name} is not what was written: its SHA-256 differs from the manifest's.")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            yield dict(arrays)


def episodes(store: Path, described: DatasetManifest) -> Iterator[Episode]:
    """The episodes of a dataset in the order in which they began. Raises DamagedError."""
    row = dtype_of(described.row)
    for part in parts(store, described):
        masks = unpacked_masks(part["masks"], described.n_actions) if "masks" in part else None
        observations = part["observations"].astype(row.base, copy=False)
        for number, name in enumerate(part["names"].tolist()):
            begin_, end = part["offsets"][number : number + 2].tolist()
            steps = slice(begin_, end)
            yield Episode(
                name.decode(),
                observations[begin_ + number : end + number + 1],
                part["actions"][steps],
                part["executed"][steps],
                part["rewards"][steps],
                part["propensities"][steps],
                part["versions"][steps],
                None if masks is None else masks[steps],
                ENDS[part["ends"][number]] == "terminated",
                ENDS[part["ends"][number]] == "truncated",
                float(part["passed"][number]),
            )


def prune(store: Path, model: str, keep: int, *, dry_run: bool) -> tuple[list[int], list[int]]:
    """Removes all but the newest `keep` datasets, and what crashes left; returns both. The caller holds the lock."""
    folder, found = folder_of(store, model), numbers(store, model)
    old = found[:-keep]
    everything = sorted(number for path in folder.glob("*") if (number := version_number(path.name)))
    left = [number for number in everything if number not in found and number != max(everything)]
    for number in () if dry_run else (*old, *left):
        (folder / str(number) / MANIFEST).unlink(missing_ok=True)
        durable.sync_directory(folder / str(number))
        shutil.rmtree(folder / str(number))
    return old, left
