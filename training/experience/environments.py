"""Gymnasium environments: made, checked and described."""

import importlib
from collections.abc import Mapping
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from models.manifest import BoxSpace, DiscreteSpace, EnvironmentInfo

Vectorization = Literal["auto", "native", "sync", "async"]
AnyEnv = gymnasium.Env[Any, Any]
AnyVectorEnv = VectorEnv[Any, Any, Any]


def make_environment(env_id: str, kwargs: Mapping[str, Any]) -> AnyEnv:
    """One environment. Raises ValueError with a sentence when it is unknown or refuses its arguments."""
    try:
        return gymnasium.make(env_id, disable_env_checker=True, **kwargs)
    except (gymnasium.error.Error, ImportError) as error:
        raise ValueError(f"env_id is {env_id!r}; Gymnasium cannot make it: {error}") from error
    except TypeError as error:
        raise ValueError(f"env_kwargs is {dict(kwargs)}; {env_id} refuses it: {error}.") from error


def make_vector_environment(
    env_id: str, kwargs: Mapping[str, Any], num_envs: int, vectorization: Vectorization = "auto"
) -> AnyVectorEnv:
    """`num_envs` environments that reset themselves on the step after an episode's end (AutoresetMode.NEXT_STEP).

    The caller has checked the environment with `describe`. Raises ValueError when `native` is asked for and the
    environment has no vector version of its own.
    """
    spec = _registered(env_id)
    native = spec.vector_entry_point is not None and not spec.additional_wrappers
    if vectorization == "native" and not native:
        raise ValueError(f"vectorization is 'native', but {env_id} has no vector version; use auto, sync or async.")
    if native and vectorization in ("auto", "native"):
        environments = gymnasium.make_vec(env_id, num_envs, "vector_entry_point", **kwargs)
        if environments.metadata.get("autoreset_mode") == AutoresetMode.NEXT_STEP:
            return environments
        environments.close()
    mode = "async" if vectorization == "async" else "sync"
    return gymnasium.make_vec(
        env_id,
        num_envs,
        mode,
        vector_kwargs={"autoreset_mode": AutoresetMode.NEXT_STEP},
        disable_env_checker=True,
        **kwargs,
    )


def describe(env_id: str, kwargs: Mapping[str, Any]) -> EnvironmentInfo:
    """What the manifest says of an environment. Raises ValueError when a DQN policy cannot play it."""
    environment = make_environment(env_id, kwargs)
    try:
        spec = environment.spec
        return EnvironmentInfo(
            id=env_id,
            kwargs=dict(kwargs),
            gymnasium_version=gymnasium.__version__,
            observation_space=_observation_space(env_id, environment.observation_space),
            action_space=_action_space(env_id, environment.action_space),
            max_episode_steps=spec.max_episode_steps if spec else None,
            reward_threshold=spec.reward_threshold if spec else None,
        )
    finally:
        environment.close()


def observation_dtype(space: BoxSpace | DiscreteSpace) -> np.dtype[Any]:
    """The dtype of the observations that replay keeps and the ONNX graph takes."""
    if isinstance(space, DiscreteSpace):
        return np.dtype(np.int64)
    return np.dtype(np.uint8 if space.dtype == "uint8" else np.float32)


def observation_shape(space: BoxSpace | DiscreteSpace) -> tuple[int, ...]:
    """The shape of one observation; a Discrete one is a scalar."""
    return tuple(space.shape) if isinstance(space, BoxSpace) else ()


def _registered(env_id: str) -> EnvSpec:
    """Gymnasium's entry for an environment; `module:Name-v0` imports the module, which registers it."""
    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    return gymnasium.spec(name)


def _observation_space(env_id: str, space: spaces.Space[Any]) -> BoxSpace | DiscreteSpace:
    if isinstance(space, spaces.Discrete):
        return DiscreteSpace(n=int(space.n), start=int(space.start))
    if isinstance(space, spaces.Box) and space.shape and all(space.shape):
        return BoxSpace(shape=list(space.shape), dtype=str(space.dtype), low=_bound(space.low), high=_bound(space.high))
    raise ValueError(
        f"{env_id} has the observation space {space}; a DQN policy here takes a Box with at least one element or a "
        "Discrete. Wrap the environment, for example with gymnasium.wrappers.FlattenObservation."
    )


def _action_space(env_id: str, space: spaces.Space[Any]) -> DiscreteSpace:
    if isinstance(space, spaces.Discrete):
        return DiscreteSpace(n=int(space.n), start=int(space.start))
    raise ValueError(f"{env_id} has the action space {space}; DQN needs a Discrete one.")


def _bound(bound: NDArray[Any]) -> float | list[float]:
    flat = bound.astype(np.float64).ravel()
    return float(flat[0]) if (flat == flat[0]).all() else flat.tolist()
