"""Wrappers between an environment and its policy, and which of them a configuration asks for.

The manifest records them, so that whoever plays a version later builds the very same environment.
"""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
from gymnasium import wrappers

from dqn_models.manifest import WrapperInfo
from dqn_training.config import DQNConfig

AnyEnv = gymnasium.Env[Any, Any]

_WRAPPERS: dict[str, Callable[..., AnyEnv]] = {
    "AtariPreprocessing": wrappers.AtariPreprocessing,
    "FrameStackObservation": wrappers.FrameStackObservation,
}
_ENVIRONMENT_ARGUMENTS = {"AtariPreprocessing": {"frameskip": 1}}
"""What a wrapper needs of the environment below it: it skips the frames itself."""


def chosen_wrappers(config: DQNConfig) -> list[WrapperInfo]:
    """The wrappers that a configuration asks for; by default Atari's for the games of the namespace ALE.

    Atari's are the evaluation protocol of Machado et al. (2018): 84 x 84 grey pixels, each the larger of two frames,
    every fourth frame, up to 30 idle frames at the start; the loss of a life ends nothing.
    """
    atari = config.preprocessing == "atari" or (config.preprocessing == "auto" and is_atari(config.env_id))
    chosen = [WrapperInfo(name="AtariPreprocessing", kwargs={"noop_max": 30, "frame_skip": 4, "screen_size": 84})]
    stack = [WrapperInfo(name="FrameStackObservation", kwargs={"stack_size": config.frame_stack})]
    return chosen * atari + stack * (config.frame_stack > 1)


def is_atari(env_id: str) -> bool:
    """Whether an environment is one of the Arcade Learning Environment's games."""
    return env_id.rpartition(":")[2].startswith("ALE/")


def environment_arguments(chosen: Sequence[WrapperInfo]) -> dict[str, Any]:
    """Arguments of the environment's constructor that its wrappers need."""
    return {name: value for each in chosen for name, value in _ENVIRONMENT_ARGUMENTS.get(each.name, {}).items()}


def wrapped(environment: AnyEnv, chosen: Sequence[WrapperInfo]) -> AnyEnv:
    """The environment within its wrappers. Raises ValueError for one that is unknown here or does not fit."""
    for each in chosen:
        if each.name not in _WRAPPERS:
            raise ValueError(f"The wrapper {each.name!r} is not one of {', '.join(sorted(_WRAPPERS))}.")
        try:
            environment = _WRAPPERS[each.name](environment, **each.kwargs)
        except (AttributeError, TypeError, ValueError, gymnasium.error.Error) as error:
            raise ValueError(f"{each.name} does not fit {environment}: {error}") from error
    return environment
