"""Statistics over runs, against plain sorting and drawing."""

import random

import numpy as np
import pytest

from dqn_testing.intervals import interquartile_interval
from dqn_training.comparing.curves import summary
from dqn_training.comparing.groups import Curve, Group
from dqn_training.evaluation.statistics import interquartile_mean


@pytest.mark.parametrize("count", [*range(1, 14), 100])
def test_there_is_one_interquartile_mean(count: int) -> None:
    """It is that of rliable, which is SciPy's trimmed mean, and `dqn-compare` uses it."""
    trim_mean = pytest.importorskip("scipy.stats").trim_mean
    values = np.random.default_rng(count).normal(size=(count, 3))
    np.testing.assert_allclose(interquartile_mean(values), trim_mean(values, 0.25, axis=0))
    group = Group("g", [Curve(np.array([0.0, 1.0]), np.array([0.0, one])) for one in values[:, 0]])
    found = summary(group, np.array([0.0, 1.0]), "iqm", None)
    assert found.final.value == pytest.approx(trim_mean(values[:, 0], 0.25))


@pytest.mark.parametrize("count", [1, 3, 4, 10, 33])
def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end(count: int) -> None:
    """Outliers in the outer quarters change nothing."""
    values = np.random.default_rng(count).normal(size=count)
    middle = sorted(values.tolist())[count // 4 : count - count // 4]
    assert float(interquartile_mean(values)) == pytest.approx(sum(middle) / len(middle))
    if count >= 4:
        values[values.argmax()] = 1e9
        assert float(interquartile_mean(values)) == pytest.approx(sum(middle) / len(middle))


def test_the_stratified_interval_draws_runs_within_each_task() -> None:
    """A plain loop over 20,000 draws gives the same ends; tasks that never vary give an interval of zero width."""
    generator = np.random.default_rng(1)
    tasks = [generator.normal(0.2, 0.3, 10), generator.normal(0.9, 0.05, 7)]
    mean, low, high = interquartile_interval(tasks)
    everything = sorted([*tasks[0], *tasks[1]])
    assert mean == pytest.approx(sum(everything[4:13]) / 9)
    plain = random.Random(0)
    drawn = []
    for _ in range(20_000):
        again = sorted(value for task in tasks for value in plain.choices(task.tolist(), k=len(task)))
        drawn.append(sum(again[4:13]) / 9)
    drawn.sort()
    assert (low, high) == pytest.approx((drawn[500], drawn[19_500]), abs=0.02)
    assert interquartile_interval([np.zeros(4), np.ones(4)]) == pytest.approx((0.5, 0.5, 0.5))
