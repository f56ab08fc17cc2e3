"""Datasets for other tools: Parquet, a row a step, and Minari, whose episodes end as Gymnasium's do.

pyarrow and Minari are imported where they are needed: they belong to the extras `parquet` and `minari`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from dqn_experience import datasets
from dqn_experience.datasets import DatasetManifest, Episode
from dqn_experience.records import dtype_of


def write_parquet(store: Path, described: DatasetManifest, path: Path) -> int:
    """Writes a dataset as one Parquet file, which appears when it is complete. How many rows it has.

    An episode with T steps has T + 1 rows: the last one has the final observation, and no action.
    """
    import pyarrow as pa  # noqa: PLC0415  (an extra)
    from pyarrow import parquet  # noqa: PLC0415  (an extra)

    temporary, rows = path.with_name(f".{path.name}.tmp"), 0
    writer = None
    try:
        for group in _groups(datasets.episodes(store, described)):
            table = pa.table(_columns(pa, group))
            writer = writer or parquet.ParquetWriter(temporary, table.schema)
            writer.write_table(table)
            rows += table.num_rows
    finally:
        if writer:
            writer.close()
    temporary.replace(path)
    return rows


def _groups(found: Iterator[Episode], steps: int = 100_000) -> Iterator[list[Episode]]:
    group: list[Episode] = []
    for episode in found:
        group.append(episode)
        if sum(len(each.actions) for each in group) >= steps:
            yield group
            group = []
    if group:
        yield group


def _columns(pa: Any, group: list[Episode]) -> dict[str, Any]:
    lengths = [len(episode.actions) + 1 for episode in group]
    ends = np.cumsum(lengths) - 1
    final = np.zeros(sum(lengths), np.bool_)
    final[ends] = True

    def of_steps(name: str) -> Any:
        values = [getattr(episode, name) for episode in group]
        padded = np.concatenate([part for each in values for part in (each, each[:1])])
        if padded.ndim == 1:
            return pa.array(padded, mask=final)
        return pa.FixedSizeListArray.from_arrays(pa.array(padded.ravel()), padded.shape[1], mask=pa.array(final))

    def of_ends(name: str) -> Any:
        flags = np.zeros(len(final), np.bool_)
        flags[ends - 1] = [getattr(episode, name) for episode in group]
        return pa.array(flags)

    names = [episode.name for episode, length in zip(group, lengths, strict=True) for _ in range(length)]
    columns = {
        "episode": pa.array(names).dictionary_encode(),
        "step": pa.array(np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])),
        "action": of_steps("actions"),
        "executed": of_steps("executed"),
        "reward": of_steps("rewards"),
        "propensity": of_steps("propensities"),
        "version": of_steps("versions"),
        "terminated": of_ends("terminated"),
        "truncated": of_ends("truncated"),
        "recorded_with_probability": pa.array(np.repeat([episode.passed for episode in group], lengths)),
    }
    observations = np.concatenate([episode.observations for episode in group])
    for name, leaf in _leaves(observations):
        flat = np.ascontiguousarray(leaf).reshape(len(leaf), -1)
        values = pa.array(flat.ravel())
        columns[name] = pa.FixedSizeListArray.from_arrays(values, flat.shape[1]) if leaf.ndim > 1 else values
    return columns


def _leaves(observations: NDArray[Any]) -> list[tuple[str, NDArray[Any]]]:
    names = observations.dtype.names
    if names is None:
        return [("observation", observations)]
    return [(f"observation.{name}", observations[name]) for name in names]


def write_minari(store: Path, described: DatasetManifest, folder: Path) -> str:
    """Writes a dataset as a Minari dataset below a folder of such. Its id.

    Actions are those that were executed, by index. Where an episode was abandoned, its last step is truncated: a
    learner bootstraps from its last observation, as it must. Propensities are in the infos.
    """
    import gymnasium  # noqa: PLC0415  (Minari brings it)
    import minari  # noqa: PLC0415  (an extra)

    name = f"{described.model}/experience-v{described.dataset}"
    with patch.dict(os.environ, {"MINARI_DATASETS_PATH": str(folder.absolute())}):
        minari.create_dataset_from_buffers(
            name,
            (_buffer(minari, episode) for episode in datasets.episodes(store, described)),
            observation_space=_space(gymnasium.spaces, dtype_of(described.row)),
            action_space=(
                gymnasium.spaces.MultiDiscrete(list(described.branches))
                if described.branches
                else gymnasium.spaces.Discrete(described.n_actions)
            ),
            algorithm_name=f"versions {', '.join(described.versions)} of {described.model}",
            description=f"Dataset {described.dataset} of {described.model}, recorded in production.",
            data_format="arrow",
            jpeg_encoding=False,
        )
    return name


def _buffer(minari: Any, episode: Episode) -> Any:
    last = np.arange(len(episode.actions)) == len(episode.actions) - 1
    propensities = np.append(episode.propensities, np.float32(np.nan))
    observations: Any = episode.observations
    if observations.dtype.names:
        observations = {name: np.ascontiguousarray(observations[name]) for name in observations.dtype.names}
    return minari.data_collector.EpisodeBuffer(
        observations=observations,
        actions=episode.executed.astype(np.int64),
        rewards=episode.rewards.tolist(),
        terminations=(last & episode.terminated).tolist(),
        truncations=(last & (not episode.terminated)).tolist(),
        infos={"propensity": propensities[:, None]},  # Minari 0.5.4 reads no scalars back from Arrow
    )


def _space(spaces: Any, dtype: np.dtype[Any]) -> Any:
    """The widest space that has these rows: their own bounds are the environment's."""
    if dtype.fields is not None:
        return spaces.Dict({name: _space(spaces, dtype.fields[name][0]) for name in dtype.names or ()})
    if np.issubdtype(dtype.base, np.floating):
        return spaces.Box(-np.inf, np.inf, dtype.shape, dtype.base)
    limits = np.iinfo(dtype.base)
    return spaces.Box(limits.min, limits.max, dtype.shape, dtype.base)
