"""Gymnasium environments: made with their wrappers, and described for the manifest.

The manifest records the wrappers, so that a version is later evaluated in exactly the same environment.
"""

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium

from dqn_models.manifest import EnvironmentInfo, WrapperInfo
from dqn_models.masks import MaskSource
from dqn_models.spaces import ActionSpace, ObservationSpace
from dqn_training.config import DQNConfig
from dqn_training.envs.checks import Checked, EnvironmentCreationError, failure
from dqn_training.envs.masks import MaskReader, find_masks
from dqn_training.envs.spaces import action_space_of, observation_space_of
from dqn_training.envs.wrappers import chosen_wrappers, environment_arguments, wrapped
from dqn_training.seeds import process_generators, restore_process_generators

_ARGUMENTS = "--env-kwargs takes a JSON object; for other arguments, register an id of your own that passes them."
_EXTRAS = {"ALE": "atari", "MinAtar": "minatar"}


def environment_for(config: DQNConfig) -> EnvironmentInfo:
    """The environment that a configuration specifies, including wrappers; raises what `describe` raises."""
    wrappers, masked, branching = chosen_wrappers(config), config.action_masks == "auto", config.branching == "on"
    return describe(config.env_id, config.env_kwargs, wrappers, config.discretize, masked=masked, branching=branching)


def describe(
    env_id: str,
    kwargs: Mapping[str, Any],
    wrappers: Sequence[WrapperInfo] = (),
    discretize: int | None = None,
    *,
    masked: bool = True,
    branching: bool = False,
) -> EnvironmentInfo:
    """An environment's description for the manifest; its action masks are ignored unless `masked`.

    Its actions branch if there are too many of them, or if `branching` is set.

    Raises ValueError if it cannot be made or DQN does not support its spaces, FaultyEnvironmentError if it fails.
    """
    environment = make_environment(env_id, kwargs, wrappers)
    try:
        spec = environment.spec
        observation_space, left_out = observation_space_of(env_id, environment.observation_space)
        action_space = action_space_of(env_id, environment.action_space, discretize, branching=branching)
        return EnvironmentInfo(
            id=env_id,
            kwargs=dict(kwargs),
            wrappers=list(wrappers),
            gymnasium_version=gymnasium.__version__,
            observation_space=observation_space,
            left_out=left_out,
            action_space=action_space,
            action_mask=_mask_source(environment, observation_space, action_space) if masked else None,
            max_episode_steps=spec.max_episode_steps if spec else None,
            reward_threshold=spec.reward_threshold if spec else None,
        )
    finally:
        environment.close()


def _mask_source(
    environment: Checked, observation_space: ObservationSpace, action_space: ActionSpace
) -> MaskSource | None:
    """Where its action masks are, for which it is reset; the process's random generators stay as they were."""
    kept = process_generators()
    try:
        _, info = environment.begin(seed=0)
    finally:
        restore_process_generators(kept)
    return find_masks(environment.env, info, observation_space, action_space)


def make_described(environment: EnvironmentInfo, **arguments: Any) -> Checked:
    """Makes a described environment with its action masks; `arguments` are passed to its constructor as well.

    Raises what `make_environment` raises.
    """
    masks = MaskReader(environment.action_mask, environment.action_space) if environment.action_mask else None
    return make_environment(environment.id, environment.kwargs | arguments, environment.wrappers, masks)


def make_environment(
    env_id: str, kwargs: Mapping[str, Any], wrappers: Sequence[WrapperInfo] = (), masks: MaskReader | None = None
) -> Checked:
    """Makes an environment whose errors raise FaultyEnvironmentError; `masks` reads its action masks.

    Raises ValueError if it is unknown, rejects its arguments, or its constructor fails.
    """
    try:
        register(env_id)
        arguments = environment_arguments(wrappers) | dict(kwargs)
        environment = gymnasium.make(env_id, disable_env_checker=True, **arguments)
    except (gymnasium.error.Error, ImportError) as error:
        sentence = f"env_id is {env_id!r}; Gymnasium cannot make it: {error}".rstrip()
        stop = "" if sentence.endswith((".", "?")) else "."
        raise ValueError(f"{sentence}{stop}{_advice(env_id, error)}") from error
    except TypeError as error:
        reason, _, _ = str(error).partition(" was raised from the environment creator")
        raise ValueError(f"env_kwargs is {dict(kwargs)}; {env_id} rejects it: {reason}. {_ARGUMENTS}") from error
    except Exception as error:
        raise EnvironmentCreationError(failure(env_id, "in its constructor", error)) from error
    try:
        return Checked(wrapped(environment, wrappers), env_id, masks)
    except BaseException:
        environment.close()
        raise


def register(env_id: str) -> gymnasium.envs.registration.EnvSpec:
    """Gymnasium's registry entry of an environment; `module:Name-v0` first imports the module, which registers it.

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


def _advice(env_id: str, error: Exception) -> str:
    """How to name or register an environment that was not found; empty if the error itself says enough."""
    module, _, name = env_id.rpartition(":")
    if module.endswith(".py"):
        dotted = ".".join(Path(module).with_suffix("").parts)
        return f" Name the module before the colon, not its file: {dotted}:{name}."
    if isinstance(error, ModuleNotFoundError) and module and error.name == module.partition(".")[0]:
        return " Modules are searched for in the working directory and the installed packages."
    enough = (ImportError, gymnasium.error.VersionNotFound, gymnasium.error.DeprecatedEnv)
    if isinstance(error, enough) or name in gymnasium.registry:
        return ""
    if not module:
        return f" If a module registers it, put its name before a colon, as in my_module:{name}; it is imported first."
    name, dash, version = name.partition("-v")
    exported = name if hasattr(sys.modules.get(module), name) else "TheClass"
    new = f"{name}{dash}{version}" if version else f"{name}-v0"
    return f" For {module}:{new}, add gymnasium.register({new!r}, '{module}:{exported}') to {module}."


def _register_atari() -> None:
    """Imports the package, which registers its games, and silences its banner for each environment."""
    ale_py = importlib.import_module("ale_py")
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
