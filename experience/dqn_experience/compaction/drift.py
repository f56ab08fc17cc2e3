"""Histograms for drift: the distribution of the numbers in observations, from one step of each episode.

The steps of an episode depend on each other, which invalidates every test on raw steps; single steps of different
episodes are independent, and so few that all of them can be kept until the bins are chosen. The bins are those of the
model's previous dataset, else tenths of this one, so that the counts of a model's datasets can be compared.
"""

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqn_experience.datasets import FeatureBins, Part

_BINS = 10
_MAX_FEATURES = 256


class DriftSample:
    """One observation of each episode."""

    def __init__(self) -> None:
        self._values: list[NDArray[np.float64]] = []
        self._names: list[str] = []

    def add(self, part: Part) -> None:
        """Takes an observation of each episode, by a hash of its name."""
        lengths = np.diff(part["offsets"])
        hashes = (blake2b(name, digest_size=8).digest() for name in part["names"].tolist())
        steps = np.array([int.from_bytes(data, "little") % (2**53) for data in hashes]) % lengths
        rows = part["observations"][part["offsets"][:-1] + np.arange(len(lengths)) + steps]
        self._names, values = _flattened(rows)
        self._values.append(values)

    def bins(self, reference: list[FeatureBins]) -> list[FeatureBins]:
        """Counts of each number, in the bins of `reference` if it has the same numbers."""
        if not self._values:
            return []
        values = np.concatenate(self._values)
        known = {feature.name: feature.edges for feature in reference}
        return [_binned(name, values[:, column], known.get(name)) for column, name in enumerate(self._names)]


def _binned(name: str, values: NDArray[np.float64], edges: list[float] | None) -> FeatureBins:
    finite = values[np.isfinite(values)]
    if edges is None:
        tenths = np.quantile(finite, np.arange(1, _BINS) / _BINS) if len(finite) else np.empty(0)
        edges = np.unique(tenths).tolist()
    counts = np.bincount(np.searchsorted(edges, finite, side="right"), minlength=len(edges) + 1)
    return FeatureBins(name, edges, [*counts.tolist(), len(values) - len(finite)])


def _flattened(rows: NDArray[Any]) -> tuple[list[str], NDArray[np.float64]]:
    """Numbers of observations, [n, features], and their names; if there are too many, an evenly spread subset."""
    fields = rows.dtype.names
    leaves = [("", rows)] if fields is None else [(name, rows[name]) for name in fields]
    names, columns = [], []
    for name, leaf in leaves:
        flat = leaf.reshape(len(leaf), -1)
        kept = np.unique(np.linspace(0, flat.shape[1] - 1, min(flat.shape[1], _MAX_FEATURES)).astype(int))
        names += [f"{name}[{index}]" for index in kept.tolist()]
        columns.append(flat[:, kept].astype(np.float64))
    return names, np.concatenate(columns, axis=1)
