"""Environments that only tests need, registered under `tests.training.environments:<id>`."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Countdown(gymnasium.Env[Any, Any]):
    """Say how many steps are left (1 to 3); observations and actions of any kind, actions starting at 5."""

    def __init__(self, space: str = "box", length: int = 4) -> None:
        self.action_space = spaces.Discrete(3, start=5)
        kinds: dict[str, spaces.Space[Any]] = {
            "box": spaces.Box(-np.inf, np.inf, (2,), np.float64),
            "image": spaces.Box(0, 255, (2, 3), np.uint8),
            "discrete": spaces.Discrete(4, start=10),
            "dict": spaces.Dict(x=spaces.Discrete(2)),
        }
        self.observation_space = kinds[space]
        self._space, self._length, self._left = space, length, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts with 1 to 3 steps to say."""
        super().reset(seed=seed, options=options)
        self._left, self._steps = int(self.np_random.integers(1, 4)), 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Rewards the right number."""
        reward = float(action == 4 + self._left)
        self._left = int(self.np_random.integers(1, 4))
        self._steps += 1
        return self._observation(), reward, self._steps >= self._length, False, {}

    def _observation(self) -> Any:
        if self._space == "discrete":
            return np.int64(10 + self._left)
        if self._space == "image":
            return np.full((2, 3), 80 * self._left, np.uint8)
        return np.array([self._left, -self._left], np.float64)


gymnasium.register("Countdown-v0", f"{__name__}:Countdown")
