"""Bootstrap intervals (Efron & Tibshirani, 1993, percentile method), of means and of interquartile means."""

from collections.abc import Sequence

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


def interquartile_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean [...] of `values` [..., n] without n // 4 at each end: the lowest and the highest quarter."""
    out = values.shape[-1] // 4
    middle: NDArray[np.float64] = np.sort(values, axis=-1)[..., out : values.shape[-1] - out].mean(axis=-1)
    return middle


def interquartile_interval(
    scores: Sequence[NDArray[np.float64]], confidence: float = 0.95
) -> tuple[float, float, float]:
    """The interquartile mean over all runs of all tasks, with the low and high end of its bootstrap interval.

    `scores` has one array of runs for each task, on one scale. Runs are drawn anew within each task (Agarwal et al.,
    2021: stratified bootstrap); the draws have a fixed seed.
    """
    generator = np.random.default_rng(0)
    drawn = [runs[generator.integers(0, len(runs), (_RESAMPLES, len(runs)))] for runs in scores]
    tail = (1 - confidence) / 2
    low, high = np.quantile(interquartile_mean(np.concatenate(drawn, axis=1)), [tail, 1 - tail])
    return float(interquartile_mean(np.concatenate(scores))), float(low), float(high)
