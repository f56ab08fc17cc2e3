"""A water tank: a pump fills it, a varying demand empties it, and the level should stay at one metre."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

PUMP = (0.0, 0.05, 0.10)
"""Inflow for each action, in metres of level a minute: off, half, full."""
TARGET, HEIGHT = 1.0, 2.0
"""Levels in metres."""
START_COST = 0.2
"""Reward lost when the pump changes."""

Observation = NDArray[np.float32]


class Tank(gymnasium.Env[Observation, np.int64]):
    """A step is a minute. The episode fails if the tank runs empty or overflows, and otherwise ends after 200 minutes.

    Observes the level (m), the demand (m a minute) and how the pump runs: 0 (off), 1 (half) or 2 (full).
    The reward of a step is 1 at the target, less the distance from it in metres, and less if the pump changes.
    """

    def __init__(self, mean_demand: float = 0.05) -> None:
        """`mean_demand` in metres of level a minute: pass another with --env-kwargs '{"mean_demand": 0.06}'."""
        self.observation_space = spaces.Box(
            low=np.array([0.0, 0.0, 0.0], np.float32),
            high=np.array([HEIGHT, 0.2, len(PUMP) - 1], np.float32),
        )
        self.action_space = spaces.Discrete(len(PUMP))
        self._mean_demand = mean_demand

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts at a random level; all randomness comes from `self.np_random`, so that a seed makes it repeatable."""
        super().reset(seed=seed, options=options)
        self._level = self.np_random.uniform(0.5, 1.5)
        self._demand = self._mean_demand
        self._pump = 1
        return self._observe(), {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Runs the pump for a minute."""
        pump = int(action)
        change = START_COST if pump != self._pump else 0.0
        self._pump = pump
        drift = 0.1 * (self._mean_demand - self._demand)
        self._demand = float(np.clip(self._demand + drift + self.np_random.normal(0.0, 0.01), 0.0, 0.2))
        self._level = float(np.clip(self._level + PUMP[pump] - self._demand, 0.0, HEIGHT))
        is_lost = self._level in {0.0, HEIGHT}
        reward = 0.0 if is_lost else 1.0 - abs(self._level - TARGET) - change
        return self._observe(), reward, is_lost, False, {}

    def _observe(self) -> Observation:
        return np.array([self._level, self._demand, self._pump], np.float32)
