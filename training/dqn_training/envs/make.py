"""Gymnasium environments: chosen, made within their wrappers, and described.

The manifest records the wrappers, so that a version is later evaluated in the very same environment.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces, wrappers
from numpy.typing import NDArray

from dqn_models.manifest import EnvironmentInfo, WrapperInfo
from dqn_models.spaces import BoxSpace, DiscreteSpace
from dqn_training.config import DQNConfig
from dqn_training.envs.checks import AnyEnv, Checked, FaultyEnvironmentError, failure

_EXTRAS = {"ALE": "atari", "MinAtar": "minatar"}
_WRAPPERS: dict[str, Callable[..., AnyEnv]] = {
    "AtariPreprocessing": wrappers.AtariPreprocessing,
    "FrameStackObservation": wrappers.FrameStackObservation,
}
_ENVIRONMENT_ARGUMENTS = {"AtariPreprocessing": {"frameskip": 1}}
"""What a wrapper needs of the environment below it: it skips the frames itself."""


def environment_for(config: DQNConfig) -> EnvironmentInfo:
    """The environment that a configuration asks for, wrappers included; raises what `describe` raises."""
    return describe(config.env_id, config.env_kwargs, _chosen_wrappers(config))


def describe(env_id: str, kwargs: Mapping[str, Any], wrappers: Sequence[WrapperInfo] = ()) -> EnvironmentInfo:
    """What the manifest says of an environment. Raises ValueError when a DQN policy cannot play it."""
    environment = make_environment(env_id, kwargs, wrappers)
    try:
        spec = environment.spec
        return EnvironmentInfo(
            id=env_id,
            kwargs=dict(kwargs),
            wrappers=list(wrappers),
            gymnasium_version=gymnasium.__version__,
            observation_space=_observation_space(env_id, environment.observation_space),
            action_space=_action_space(env_id, environment.action_space),
            max_episode_steps=spec.max_episode_steps if spec else None,
            reward_threshold=spec.reward_threshold if spec else None,
        )
    finally:
        environment.close()


def make_environment(env_id: str, kwargs: Mapping[str, Any], wrappers: Sequence[WrapperInfo] = ()) -> AnyEnv:
    """One environment, whose faults raise FaultyEnvironmentError.

    Raises ValueError with a sentence when it is unknown or refuses its arguments.
    """
    try:
        register(env_id)
        arguments = _environment_arguments(wrappers) | dict(kwargs)
        environment = gymnasium.make(env_id, disable_env_checker=True, **arguments)
    except (gymnasium.error.Error, ImportError) as error:
        raise ValueError(f"env_id is {env_id!r}; Gymnasium cannot make it: {error}") from error
    except TypeError as error:
        raise ValueError(f"env_kwargs is {dict(kwargs)}; {env_id} refuses it: {error}.") from error
    except Exception as error:
        raise FaultyEnvironmentError(failure(env_id, "while it was made", error)) from error
    return Checked(_wrapped(environment, wrappers), env_id)


def _chosen_wrappers(config: DQNConfig) -> list[WrapperInfo]:
    """The wrappers that a configuration asks for; by default Atari's for the games of the namespace ALE.

    Atari's are the evaluation protocol of Machado et al. (2018): 84 x 84 grey pixels, each the larger of two frames,
    every fourth frame, up to 30 idle frames at the start; the loss of a life ends nothing.
    """
    is_ale = config.env_id.rpartition(":")[2].startswith("ALE/")
    atari = config.preprocessing == "atari" or (config.preprocessing == "auto" and is_ale)
    chosen = [WrapperInfo(name="AtariPreprocessing", kwargs={"noop_max": 30, "frame_skip": 4, "screen_size": 84})]
    stack = [WrapperInfo(name="FrameStackObservation", kwargs={"stack_size": config.frame_stack})]
    return chosen * atari + stack * (config.frame_stack > 1)


def _environment_arguments(chosen: Sequence[WrapperInfo]) -> dict[str, Any]:
    """Arguments of the environment's constructor that its wrappers need."""
    return {name: value for each in chosen for name, value in _ENVIRONMENT_ARGUMENTS.get(each.name, {}).items()}


def _wrapped(environment: AnyEnv, chosen: Sequence[WrapperInfo]) -> AnyEnv:
    """The environment within its wrappers. Raises ValueError for one that is unknown here or does not fit."""
    for each in chosen:
        if each.name not in _WRAPPERS:
            raise ValueError(f"The wrapper {each.name!r} is not one of {', '.join(sorted(_WRAPPERS))}.")
        try:
            environment = _WRAPPERS[each.name](environment, **each.kwargs)
        except (AttributeError, TypeError, ValueError, gymnasium.error.Error) as error:
            raise ValueError(f"{each.name} does not fit {environment}: {error}") from error
    return environment


def register(env_id: str) -> gymnasium.envs.registration.EnvSpec:
    """Gymnasium's entry for an environment; `module:Name-v0` imports the module, which registers it.

    The namespaces ALE and MinAtar need no module. Raises ImportError and Gymnasium's errors.
    """
    module, _, name = env_id.rpartition(":")
    namespace = name.partition("/")[0]
    try:
        if namespace == "ALE":
            _register_atari()
        elif namespace == "MinAtar" and name not in gymnasium.registry:
            importlib.import_module("minatar.gym").register_envs()
    except ImportError as error:
        remedy = f"pip install 'dqn-policy-server[{_EXTRAS[namespace]}]'"
        raise ImportError(f"{error}; install the extra {_EXTRAS[namespace]}, as in {remedy}.") from error
    if module:
        importlib.import_module(module)
    return gymnasium.spec(name)


def _register_atari() -> None:
    """Importing the package registers its games; its greeting for each environment is silenced."""
    ale_py = importlib.import_module("ale_py")
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)


def _observation_space(env_id: str, space: spaces.Space[Any]) -> BoxSpace | DiscreteSpace:
    """The space for the manifest. Raises ValueError when a policy cannot take such observations."""
    if isinstance(space, spaces.Discrete):
        return DiscreteSpace(n=int(space.n), start=int(space.start))
    if isinstance(space, spaces.Box) and space.shape and all(space.shape):
        return BoxSpace(shape=list(space.shape), dtype=str(space.dtype), low=_bound(space.low), high=_bound(space.high))
    raise ValueError(
        f"{env_id} has the observation space {space}; a DQN policy here takes a Box with at least one element or a "
        "Discrete. Wrap the environment, for example with gymnasium.wrappers.FlattenObservation."
    )


def _action_space(env_id: str, space: spaces.Space[Any]) -> DiscreteSpace:
    """The space for the manifest. Raises ValueError when it is not Discrete."""
    if isinstance(space, spaces.Discrete):
        return DiscreteSpace(n=int(space.n), start=int(space.start))
    raise ValueError(f"{env_id} has the action space {space}; DQN needs a Discrete one.")


def _bound(bound: NDArray[Any]) -> float | list[float]:
    flat = bound.astype(np.float64).ravel()
    return float(flat[0]) if (flat == flat[0]).all() else flat.tolist()
