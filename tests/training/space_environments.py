"""An environment with any space of observations and actions, registered as `tests.training.space_environments:<id>`."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

Space = spaces.Space[Any]


def _observations(kind: str) -> Space:
    pixels = spaces.Box(0, 255, (12, 14, 3), np.uint8)
    kinds: dict[str, Space] = {
        "scalar": spaces.Box(-1, 1, (), np.float64),
        "integers": spaces.Box(-5, 5, (2,), np.int32),
        "multidiscrete": spaces.MultiDiscrete([4, 5], start=[1, -2]),
        "table": spaces.MultiDiscrete(np.full((2, 2), 300)),
        "multibinary": spaces.MultiBinary((2, 3)),
        "single": spaces.Dict(only=spaces.Box(-np.inf, np.inf, (3,), np.float32)),
        "tuple": spaces.Tuple([spaces.Text(5), spaces.Discrete(3, start=-1), spaces.Discrete(2_000)]),
        "nested": spaces.Dict(
            image=pixels,
            goal=spaces.Dict(position=spaces.Box(-9, 9, (2,), np.float64), near=spaces.Tuple([spaces.MultiBinary(2)])),
            hands=spaces.MultiDiscrete([3, 4]),
            flags=spaces.Box(0, 1, (2, 2), np.bool_),
            height=spaces.Box(0, 1, (), np.float32),
            mission=spaces.Text(10),
            objects=spaces.Sequence(spaces.Discrete(3)),
        ),
    }
    return kinds[kind]


def _actions(kind: str) -> Space:
    kinds: dict[str, Space] = {
        "discrete": spaces.Discrete(3, start=5),
        "multidiscrete": spaces.MultiDiscrete([2, 3], start=[0, -1]),
        "multibinary": spaces.MultiBinary((2, 2)),
        "box": spaces.Box(np.array([-2, 0], np.float32), np.array([2, 1], np.float32)),
        "unbounded": spaces.Box(-np.inf, np.inf, (1,)),
        "half": spaces.Box(np.array([0, -np.inf, -2], np.float32), np.array([np.inf, 3, 2], np.float32)),
        "three": spaces.Box(0, 1, (3,)),
        "six": spaces.Box(0, 1, (6,)),
        "twelve": spaces.Box(0, 1, (12,)),
        "thirteen": spaces.Box(0, 1, (13,)),
        "many": spaces.MultiDiscrete([100, 100]),
        "tuple": spaces.Tuple([spaces.Discrete(2)]),
    }
    return kinds[kind]


class Spaced(gymnasium.Env[Any, Any]):
    """Observations drawn from its space; an action must be in the action space, and large ones are rewarded."""

    def __init__(self, observes: str = "nested", acts: str = "discrete", fault: str = "", rewards: int = 1) -> None:
        self.observation_space, self.action_space = _observations(observes), _actions(acts)
        self._fault, self._rewards = fault, rewards

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The spaces draw from the environment's generator, so that a seed repeats an episode."""
        super().reset(seed=seed, options=options)
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        self._steps = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Raises ValueError for an action that is not of the type and shape that the space samples."""
        expected = self.action_space.sample()
        if type(action) is not type(expected) or not self.action_space.contains(action):
            raise ValueError(f"{action!r} is not in {self.action_space}")
        self._steps += 1
        reward = float(np.sum(action))
        vector = np.full(self._rewards, reward)
        return self._observation(), vector if self._rewards > 1 else reward, self._steps >= 6, False, {}

    def _observation(self) -> Any:
        observation = self.observation_space.sample()
        if self._fault == "float":
            return observation.astype(np.float64) + 0.25
        if self._fault == "missing":
            del observation["goal"]["position"]
        if self._fault == "nan":
            observation["goal"]["position"][1] = np.nan
        if self._fault == "outside":
            observation["hands"] = np.array([3, 0])
        return observation


gymnasium.register("Spaced-v0", f"{__name__}:Spaced")


class Blind(gymnasium.Env[Any, Any]):
    """Observations that no network can read."""

    observation_space = spaces.Dict(mission=spaces.Text(10))
    action_space = spaces.Discrete(2)


gymnasium.register("Blind-v0", f"{__name__}:Blind")


class AddOne(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A custom wrapper with an argument."""

    def __init__(self, environment: gymnasium.Env[Any, Any], amount: float = 1.0) -> None:
        super().__init__(environment)
        self._amount = amount

    def step(self, action: Any) -> Any:
        """Adds to the reward."""
        observation, reward, *rest = self.env.step(action)
        return observation, float(reward) + self._amount, *rest
