"""Environments of benchmarks/zero_config.py that need more than their id, the same for every system.

Importing this module registers `zero/...`: environments of packages, wrapped if not every peer supports them (an
observation with several parts, two rewards, an action that must be a Python int). `make` makes any of the benchmark's
environments, `make_flat` one whose observations are vectors of float32, for peers that support nothing else.
"""

import importlib
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

Made = gymnasium.Env[Any, Any]


class _IntegerActions(gymnasium.ActionWrapper[Any, Any, Any]):
    def action(self, action: Any) -> int:
        return int(action)


class _FloatVectors(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Flattens any observation to one vector; a Discrete one becomes one-hot."""

    def __init__(self, environment: Made) -> None:
        super().__init__(environment)
        flat = spaces.flatten_space(environment.observation_space)
        assert isinstance(flat, spaces.Box)  # noqa: S101  (these spaces flatten to a Box)
        self.observation_space = spaces.Box(flat.low.astype(np.float32), flat.high.astype(np.float32), flat.shape)

    def observation(self, observation: Any) -> Any:
        return spaces.flatten(self.env.observation_space, observation).astype(np.float32)


def _packaged(module: str, env_id: str, **arguments: Any) -> Made:
    importlib.import_module(module)
    return gymnasium.make(env_id, disable_env_checker=True, **arguments)


def mini_grid() -> Made:
    """The image alone; the mission is always the same, and the image turns with the player."""
    return importlib.import_module("minigrid.wrappers").ImgObsWrapper(_packaged("minigrid", "MiniGrid-Empty-5x5-v0"))


def deep_sea_treasure() -> Made:
    """Treasure and time as one reward, with equal weights."""
    made = _packaged("mo_gymnasium", "deep-sea-treasure-v0")
    old = importlib.import_module("mo_gymnasium")  # whose later releases have it among their wrappers
    linear = getattr(old, "LinearReward", None) or importlib.import_module("mo_gymnasium.wrappers").LinearReward
    return linear(made, weight=np.array([0.5, 0.5]))  # type: ignore[no-any-return]  # the package has no types


def flappy_bird() -> Made:
    """Twelve features; its lidar with 180 values takes a millisecond per step."""
    return _packaged("flappy_bird_gymnasium", "FlappyBird-v0", use_lidar=False)


def nasim_tiny() -> Made:
    """A small computer network to break into."""
    return _IntegerActions(_packaged("nasim", "Tiny-v0"))


def make(env_id: str) -> Made:
    """An environment by the id that `dqn-train --env-id` takes."""
    if env_id.startswith("MinAtar/"):
        importlib.import_module("minatar.gym").register_envs()
    return gymnasium.make(env_id, disable_env_checker=True)


def make_flat(env_id: str) -> Made:
    """The same environment with observations that are vectors of float32."""
    return _FloatVectors(make(env_id))


for _name, _made in {
    "MiniGrid-Empty-5x5": mini_grid,
    "DeepSeaTreasure": deep_sea_treasure,
    "FlappyBird": flappy_bird,
    "NasimTiny": nasim_tiny,
}.items():
    gymnasium.register(f"zero/{_name}-v0", _made)
