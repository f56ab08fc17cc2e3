"""Intervals over several tasks, for benchmarks."""

from collections.abc import Sequence

import numpy as np

from dqn_training.evaluation.statistics import RESAMPLES, Floats, interquartile_mean


def interquartile_interval(scores: Sequence[Floats], confidence: float = 0.95) -> tuple[float, float, float]:
    """The interquartile mean over all runs of all tasks, with the low and high end of its bootstrap interval.

    `scores` has one array of runs for each task, on one scale. Runs are redrawn within each task (Agarwal et al., 2021:
    stratified bootstrap); the draws have a fixed seed.
    """
    generator = np.random.default_rng(0)
    drawn = [runs[generator.integers(0, len(runs), (RESAMPLES, len(runs)))].T for runs in scores]
    tail = (1 - confidence) / 2
    low, high = np.quantile(interquartile_mean(np.concatenate(drawn)), [tail, 1 - tail])
    return float(interquartile_mean(np.concatenate(scores))), float(low), float(high)
