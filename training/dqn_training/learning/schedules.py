"""Epsilon, the learning rate and the importance-sampling exponent as functions of the environment steps taken."""

import math
from collections.abc import Callable

from dqn_training.config import DQNConfig

Schedule = Callable[[int], float]


def linear(start: float, end: float, steps: float) -> Schedule:
    """Linear from `start` to `end` over `steps` steps, then constant."""
    return lambda step: end if step >= steps else start + (end - start) * step / steps


def exponential(start: float, end: float, steps: float) -> Schedule:
    """Exponential, end + (start - end) * exp(-step / steps), as in PyTorch's DQN tutorial."""
    return lambda step: end + (start - end) * math.exp(-step / steps)


def epsilon_schedule(config: DQNConfig, *, warm: bool = False) -> Schedule:
    """The probability of a random action by environment steps; a warm start is limited to `warm_epsilon`.

    Always 0 for noisy networks, which explore by their noise.
    """
    if config.noisy:
        return linear(0.0, 0.0, 1)
    schedule = linear if config.epsilon_schedule == "linear" else exponential
    limit = config.warm_epsilon if warm else 1.0
    start, end = min(config.epsilon_start, limit), min(config.epsilon_end, limit)
    return schedule(start, end, config.epsilon_decay_steps)


def learning_rate_schedule(config: DQNConfig) -> Schedule:
    """The optimizer's learning rate by environment steps."""
    end = config.learning_rate if config.learning_rate_end is None else config.learning_rate_end
    return linear(config.learning_rate, end, config.total_env_steps)


def importance_schedule(config: DQNConfig) -> Schedule:
    """The importance-sampling exponent (beta) by environment steps, annealed linearly to 1."""
    return linear(config.importance_exponent, 1.0, config.total_env_steps)
