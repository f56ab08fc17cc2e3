"""An arm with several joints, each with its own motor: an action sets the speed of each motor.

Importing this module registers it as `joints:Arm-v0`.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

STEPS = 50
_FASTEST, _COUPLING, _NOISE = 0.4, 0.25, 0.02
_NEAR, _JUMP, _FAR = 0.15, 0.05, 2.0


class Arm(gymnasium.Env[NDArray[np.float32], NDArray[np.int64]]):
    """Observations are the distances of the joints from their goals, which jump occasionally.

    The reward is the fraction of joints near their goal. A motor also moves the next joint, by a quarter, so that the
    best speeds depend on each other.
    """

    def __init__(self, joints: int = 6, speeds: int = 8) -> None:
        self.observation_space = spaces.Box(-_FAR, _FAR, (joints,), np.float32)
        self.action_space = spaces.MultiDiscrete([speeds] * joints)
        self._speeds = np.linspace(-_FASTEST, _FASTEST, speeds)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Starts with random distances."""
        super().reset(seed=seed, options=options)
        self._distances = self.np_random.uniform(-1, 1, self.observation_space.shape)
        self._left = STEPS
        return self._distances.astype(np.float32), {}

    def step(self, action: NDArray[np.int64]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Moves every joint."""
        moved = self._speeds[action]
        moved[1:] += _COUPLING * moved[:-1]
        joints = len(moved)
        self._distances += moved + self.np_random.normal(0, _NOISE, joints)
        jumps = self.np_random.random(joints) < _JUMP
        self._distances[jumps] = self.np_random.uniform(-1, 1, jumps.sum())
        self._distances.clip(-_FAR, _FAR, out=self._distances)
        self._left -= 1
        reward = float((np.abs(self._distances) < _NEAR).mean())
        return self._distances.astype(np.float32), reward, False, self._left == 0, {}


gymnasium.register("Arm-v0", f"{__name__}:Arm")
