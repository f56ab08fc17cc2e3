"""Bootstrap intervals of means (Efron & Tibshirani, 1993, percentile method)."""

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 2_000
_CHUNK = 1_000_000  # numbers drawn at a time


def mean_interval(values: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """The bootstrap interval of the mean of `values` [n], low and high; repeatable, as its draws have a fixed seed."""
    generator = np.random.default_rng(0)
    rounds = max(1, _CHUNK // len(values))
    means = []
    for start in range(0, _RESAMPLES, rounds):
        drawn = generator.integers(0, len(values), (min(rounds, _RESAMPLES - start), len(values)))
        means.append(values[drawn].mean(axis=1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)
