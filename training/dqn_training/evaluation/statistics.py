"""Bootstrap intervals (percentile method, Efron & Tibshirani, 1993) and the interquartile mean."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 2_000


def mean_interval(values: Floats, confidence: float = 0.95) -> tuple[float, float]:
    """The bootstrap interval (low, high) of the mean of `values` [n]; the resampling seed is fixed."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled(values, lambda drawn: drawn.mean(axis=0)), [tail, 1 - tail])
    return float(low), float(high)


def resampled(values: Floats, statistic: Callable[[Floats], Floats]) -> Floats:
    """The statistic [resamples, ...] of bootstrap resamples of runs [runs, ...]; the resampling seed is fixed."""
    generator, count = np.random.default_rng(0), len(values)
    return np.stack([statistic(values[generator.integers(0, count, count)]) for _ in range(RESAMPLES)])


def interquartile_mean(values: Floats) -> Floats:
    """The mean [...] of the middle half of runs [runs, ...], without runs // 4 at each end (Agarwal et al., 2021).

    Equals rliable's `aggregate_iqm` and SciPy's `trim_mean` with 0.25.
    """
    out = len(values) // 4
    return np.asarray(np.sort(values, axis=0)[out : len(values) - out].mean(axis=0))
