"""Epsilon and learning-rate schedules, by hand-computed numbers."""

import math

import pytest

from dqn_training.config import DQNConfig
from dqn_training.learning.schedules import (
    epsilon_schedule,
    exponential,
    importance_schedule,
    learning_rate_schedule,
    linear,
)
from dqn_training.presets import preset_config


def test_linear_goes_straight_to_its_end_and_stays() -> None:
    """Linear from 1.0 to 0.2 over 100 steps is 0.6 half-way and 0.2 from step 100 on."""
    schedule = linear(1.0, 0.2, 100)
    assert [schedule(step) for step in (0, 50, 100, 1_000)] == pytest.approx([1.0, 0.6, 0.2, 0.2])


def test_exponential_is_the_tutorials() -> None:
    """The tutorial's epsilon after n actions is 0.05 + 0.85 exp(-n / 1000)."""
    schedule = epsilon_schedule(preset_config("tutorial"))
    for step in (0, 1_000, 2_500):
        assert schedule(step) == pytest.approx(0.05 + 0.85 * math.exp(-step / 1_000))
    assert exponential(1.0, 0.0, 10)(10) == pytest.approx(math.exp(-1))


def test_a_warm_start_explores_less() -> None:
    """A warm start's epsilon begins at warm_epsilon and ends at the same value as a cold one."""
    schedule = epsilon_schedule(DQNConfig(epsilon_decay_steps=100, warm_epsilon=0.2), warm=True)
    assert (schedule(0), schedule(100)) == pytest.approx((0.2, 0.05))


def test_the_learning_rate_stays_unless_an_end_is_set() -> None:
    """Without learning_rate_end it is constant; with it, linear over the budget."""
    assert learning_rate_schedule(DQNConfig())(12_345) == 1e-3
    falling = learning_rate_schedule(DQNConfig(total_env_steps=100, learning_rate_end=0.0005))
    assert falling(50) == pytest.approx(7.5e-4)


def test_importance_weights_undo_priorities_entirely_in_the_end() -> None:
    """The exponent goes in a straight line from importance_exponent to 1 at the last step."""
    schedule = importance_schedule(DQNConfig(importance_exponent=0.4, total_env_steps=1_000))
    assert [schedule(step) for step in (0, 500, 1_000, 1_010)] == pytest.approx([0.4, 0.7, 1.0, 1.0])


def test_noisy_networks_need_no_epsilon() -> None:
    """With noisy it is 0 from the first step on, warm or not."""
    for warm in (False, True):
        schedule = epsilon_schedule(DQNConfig(noisy=True), warm=warm)
        assert [schedule(step) for step in (0, 1, 100_000)] == [0.0, 0.0, 0.0]
