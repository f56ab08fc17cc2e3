"""Epsilon, the learning rate and the importance weights' exponent as functions of the environment steps taken."""

import math
from collections.abc import Callable

from dqn_training.config import DQNConfig

Schedule = Callable[[int], float]


def linear(start: float, end: float, steps: float) -> Schedule:
    """From `start` in a straight line to `end` after `steps` steps; `end` from then on."""
    return lambda step: end if step >= steps else start + (end - start) * step / steps


def exponential(start: float, end: float, steps: float) -> Schedule:
    """Gives end + (start - end) * exp(-step / steps), as PyTorch's DQN tutorial does."""
    return lambda step: end + (start - end) * math.exp(-step / steps)


def epsilon_schedule(config: DQNConfig, *, warm: bool = False) -> Schedule:
    """The chance of a random action after so many environment steps; a warm start begins no higher than its limit.

    Noisy networks explore without it.
    """
    if config.noisy:
        return linear(0.0, 0.0, 1)
    schedule = linear if config.epsilon_schedule == "linear" else exponential
    limit = config.warm_epsilon if warm else 1.0
    start, end = min(config.epsilon_start, limit), min(config.epsilon_end, limit)
    return schedule(start, end, config.epsilon_decay_steps)


def learning_rate_schedule(config: DQNConfig) -> Schedule:
    """The optimiser's step size after so many environment steps."""
    end = config.learning_rate if config.learning_rate_end is None else config.learning_rate_end
    return linear(config.learning_rate, end, config.total_env_steps)


def importance_schedule(config: DQNConfig) -> Schedule:
    """How far importance weights undo priorities after so many environment steps: at the end entirely."""
    return linear(config.importance_exponent, 1.0, config.total_env_steps)
