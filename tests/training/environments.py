"""Environments that only tests need, registered under `tests.training.environments:<id>`."""

import os
import random
import signal
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleEnv, CartPoleVectorEnv


class Countdown(gymnasium.Env[Any, Any]):
    """Actions should tell how many steps are left (1 to 3); any kind of observations, actions starting at 5."""

    def __init__(self, space: str = "box", length: int = 4, n: int = 4, start: int = 10) -> None:
        self.action_space = spaces.Discrete(3, start=5)
        kinds: dict[str, spaces.Space[Any]] = {
            "box": spaces.Box(-np.inf, np.inf, (2,), np.float64),
            "image": spaces.Box(0, 255, (2, 3), np.uint8),
            "discrete": spaces.Discrete(n, start=start),
            "pixels": spaces.Box(0, 255, (12, 14, 3), np.uint8),
            "planes": spaces.Box(0, 255, (3, 12, 14), np.uint8),
            "grey": spaces.Box(0, 255, (12, 14), np.uint8),
            "bits": spaces.Box(0, 1, (12, 14, 4), np.bool_),
        }
        self.observation_space = kinds[space]
        self._space, self._length, self._left, self._start = space, length, 0, start

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts with 1 to 3 steps left."""
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
            return np.int64(self._start + self._left)
        if self._space == "image":
            return np.full((2, 3), 80 * self._left, np.uint8)
        if self._space in ("pixels", "planes", "grey", "bits"):
            return self._image()
        return np.array([self._left, -self._left], np.float64)

    def _image(self) -> Any:
        """As many bright columns as there are steps left; the channels differ."""
        space = self.observation_space
        columns = np.arange(14) < 3 * self._left
        brightness = {"pixels": np.array([250, 120, 10]), "planes": np.array([250, 120, 10]), "bits": np.ones(4)}
        image = np.multiply.outer(np.outer(np.ones(12), columns), brightness.get(self._space, np.array(250)))
        if self._space == "planes":
            image = np.moveaxis(image, -1, 0)
        return image.astype(space.dtype)


class Faulty(Countdown):
    """Countdown in which something goes wrong in the seventh step, or in reset."""

    def __init__(self, fault: str = "none", space: str = "box") -> None:
        if fault == "constructor":
            raise RuntimeError("no plant is connected")
        super().__init__(space, length=5)
        self._fault, self._taken = fault, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Returns what old environments did, if that is the fault."""
        answer = super().reset(seed=seed, options=options)
        return answer[0] if self._fault == "reset" else answer

    def step(self, action: Any) -> Any:
        """The fault, when its time has come."""
        observation, reward, terminated, truncated, info = super().step(action)
        self._taken += 1
        if self._taken < 7:
            return observation, reward, terminated, truncated, info
        if self._fault == "exception":
            raise LookupError("the arm is stuck")
        if self._fault == "death":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._fault == "four":
            return observation, reward, terminated, info
        wrong_rewards = {"huge reward": 1e40, "nan reward": np.nan, "no reward": None, "rewards": np.ones(2)}
        wrong_observations = {
            "nan": np.array([0, np.nan]),
            "huge": np.array([0, -1e40]),
            "shape": np.zeros(3),
            "text": np.array(["a", "b"]),
            "fractions": np.full((2, 3), 0.5),
            "too large": np.full((2, 3), 256),
            "outside": np.int64(14),
        }
        return (
            wrong_observations.get(self._fault, observation),
            wrong_rewards.get(self._fault, reward),
            terminated,
            truncated,
            info,
        )


class NoSeed(Countdown):
    """An environment whose reset takes no seed."""

    def reset(self) -> tuple[Any, dict[str, Any]]:  # type: ignore[override]  # that is what is wrong with it
        """Lacks the seed that Gymnasium requires."""
        return super().reset()


gymnasium.register("Faulty-v0", f"{__name__}:Faulty")
gymnasium.register("NoSeed-v0", f"{__name__}:NoSeed")
gymnasium.register("Countdown-v0", f"{__name__}:Countdown")


class FaultyVector(CartPoleVectorEnv):
    """CartPole's vector version with a fault in the third step."""

    def __init__(self, num_envs: int = 1, fault: str = "none", **kwargs: Any) -> None:
        super().__init__(num_envs, **kwargs)
        self._fault, self._taken = fault, 0

    def step(self, action: Any) -> Any:
        """The fault, when its time has come."""
        observations, rewards, *rest = super().step(action)
        self._taken += 1
        if self._taken < 3:
            return observations, rewards, *rest
        if self._fault == "exception":
            raise LookupError("the arm is stuck")
        if self._fault == "reward":
            rewards = rewards * np.inf
        if self._fault == "nan":
            observations = observations * np.nan
        return observations[:, :3] if self._fault == "shape" else observations, rewards, *rest


class FaultyCartPole(CartPoleEnv):
    """The same as a single environment."""

    def __init__(self, fault: str = "none", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fault = fault


gymnasium.register("FaultyVector-v0", FaultyCartPole, vector_entry_point=FaultyVector)


class Unseeded(gymnasium.Env[Any, Any]):
    """Draws from the global generators of Python and NumPy, as many environments do, but never from its own."""

    def __init__(self) -> None:
        self.action_space = spaces.Discrete(2)
        self.observation_space = spaces.Box(0, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """A random observation."""
        super().reset(seed=seed, options=options)
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Another random observation, until the episode ends at random."""
        return self._observation(), float(action), random.random() < 0.1, False, {}

    def _observation(self) -> Any:
        return np.random.uniform(size=2).astype(np.float32)  # noqa: NPY002  (as they do)


gymnasium.register("Unseeded-v0", f"{__name__}:Unseeded")


class Walk(gymnasium.Env[Any, Any]):
    """Left or right on a line; actions may be replaced at random, and rewards and places may have any scale."""

    def __init__(
        self,
        chance: float = 0.0,
        reward: float = 1.0,
        length: int = 20,
        unit: float = 1.0,
    ) -> None:
        self.action_space = spaces.Discrete(2)
        self.observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self._chance, self._reward, self._length, self._unit = chance, reward, length, unit

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts at 0."""
        super().reset(seed=seed, options=options)
        self._place, self._steps = 0.0, 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Rewards steps to the right."""
        draw = self.np_random.random
        right = draw() < 0.5 if draw() < self._chance else action == 1
        self._place += 1 if right else -1
        self._steps += 1
        reward = self._reward if right else 0.0
        return np.array([self._place / self._unit], np.float32), reward, self._steps >= self._length, False, {}


gymnasium.register("Walk-v0", f"{__name__}:Walk")


class Endless(gymnasium.Env[Any, Any]):
    """Never ends, unless a length is given; a step costs 1, and action 1 gains 2. Seeded as Gymnasium requires."""

    def __init__(self, length: int = 0, gain: float = 2.0) -> None:
        self.action_space = spaces.Discrete(2)
        self.observation_space = spaces.Box(0, 1, (2,), np.float32)
        self._length, self._gain = length, gain

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """A random observation."""
        super().reset(seed=seed, options=options)
        self._steps = 0
        return self.np_random.random(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Another one."""
        self._steps += 1
        over = self._steps == self._length
        return self.np_random.random(2, np.float32), self._gain * int(action) - 1, over, False, {}


class Single(Endless):
    """An emulator of which a process can have only one instance, from its constructor or its first reset on."""

    _open: "Single | None" = None

    def __init__(self, length: int = 20, opens: str = "made") -> None:
        super().__init__(length)
        if opens == "made":
            self._take()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Becomes the process's only instance, if there is none."""
        self._take()
        return super().reset(seed=seed, options=options)

    def _take(self) -> None:
        if Single._open not in (None, self):
            raise RuntimeError("only one emulator per process, close the other one first")
        Single._open = self

    def close(self) -> None:
        """Allows another instance."""
        if Single._open is self:
            Single._open = None


gymnasium.register("Endless-v0", f"{__name__}:Endless")
gymnasium.register("Single-v0", f"{__name__}:Single")
