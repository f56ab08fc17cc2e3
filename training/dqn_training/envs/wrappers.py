"""Environment wrappers: those that a configuration specifies, in the manifest's form, and how they are applied."""

import difflib
import importlib
import json
from collections.abc import Sequence
from typing import Any, SupportsFloat

import gymnasium
import numpy as np

from dqn_models.manifest import WrapperInfo
from dqn_training.config import DQNConfig

AnyEnv = gymnasium.Env[Any, Any]

_ENVIRONMENT_ARGUMENTS = {"AtariPreprocessing": {"frameskip": 1}}
"""Constructor arguments that a wrapper requires of the environment: AtariPreprocessing skips frames itself."""


class RewardWeights(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Replaces a vector-valued reward by its weighted sum."""

    def __init__(self, environment: AnyEnv, weights: Sequence[float]) -> None:
        """One weight for each component of the reward."""
        super().__init__(environment)
        self._weights = np.array(weights, np.float64)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Steps the environment. Raises ValueError if the reward does not have one component per weight."""
        observation, reward, *rest = self.env.step(action)
        rewards = np.asarray(reward, np.float64)
        if rewards.shape != self._weights.shape:
            raise ValueError(f"the reward has the shape {list(rewards.shape)}; there are {len(self._weights)} weights")
        return observation, float(self._weights @ rewards), *rest


class PlainAction(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Passes actions as an int or a list, for environments that do not accept NumPy types."""

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Steps the environment."""
        return self.env.step(action.tolist())


class BoundedAction(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Sets bounds on an unbounded continuous action space: two numbers, or two lists in the shape of the space."""

    def __init__(self, environment: AnyEnv, low: Any, high: Any) -> None:
        """Raises TypeError if the space is not a Box, ValueError if the bounds do not fit its shape and bounds."""
        super().__init__(environment)
        space = environment.action_space
        if not isinstance(space, gymnasium.spaces.Box):
            raise TypeError(f"the action space is {space}; expected a Box")
        lows, highs = (np.broadcast_to(np.asarray(end, space.dtype), space.shape) for end in (low, high))
        if (lows < space.low).any() or (highs > space.high).any() or (lows >= highs).any():
            raise ValueError(f"the bounds {low} and {high} are not an interval within those of {space}")
        self.action_space = gymnasium.spaces.Box(lows, highs, space.shape, dtype=space.dtype.type)


_OWN = {"BoundedAction": BoundedAction, "PlainAction": PlainAction, "RewardWeights": RewardWeights}


def chosen_wrappers(config: DQNConfig) -> list[WrapperInfo]:
    """The wrappers that a configuration specifies; by default Atari preprocessing for games in the namespace ALE.

    Atari preprocessing follows the evaluation protocol of Machado et al. (2018): 84 x 84 greyscale pixels, the maximum
    of two frames, every fourth frame, up to 30 no-ops at the start; losing a life does not end the episode. Raises
    ValueError for a wrapper that is not written as NAME or NAME=JSON.
    """
    is_ale = config.env_id.rpartition(":")[2].startswith("ALE/")
    atari = config.preprocessing == "atari" or (config.preprocessing == "auto" and is_ale)
    preprocessing = WrapperInfo(name="AtariPreprocessing", kwargs={"noop_max": 30, "frame_skip": 4, "screen_size": 84})
    weights = WrapperInfo(name="RewardWeights", kwargs={"weights": list(config.reward_weights)})
    stack = WrapperInfo(name="FrameStackObservation", kwargs={"stack_size": config.frame_stack})
    return [
        *[preprocessing] * atari,
        *map(_parsed, config.wrapper),
        *[weights] * bool(config.reward_weights),
        *[stack] * (config.frame_stack > 1),
    ]


def environment_arguments(chosen: Sequence[WrapperInfo]) -> dict[str, Any]:
    """Arguments of the environment's constructor that its wrappers require."""
    return {name: value for each in chosen for name, value in _ENVIRONMENT_ARGUMENTS.get(each.name, {}).items()}


def wrapped(environment: AnyEnv, chosen: Sequence[WrapperInfo]) -> AnyEnv:
    """Applies wrappers to the environment. Raises ValueError for one that is not found or cannot be applied."""
    for each in chosen:
        kind = _found(each.name)
        try:
            environment = kind(environment, **each.kwargs)
        except Exception as error:  # third-party wrappers may raise anything
            reason = str(error) or type(error).__name__
            raise ValueError(f"The wrapper {each.name} cannot wrap {environment}: {reason.rstrip('.')}.") from error
    return environment


def _parsed(text: str) -> WrapperInfo:
    name, _, arguments = text.partition("=")
    try:
        kwargs = json.loads(arguments or "{}")
    except ValueError:
        kwargs = None
    if not name or not isinstance(kwargs, dict):
        raise ValueError(
            f"--wrapper is {text!r}; expected a name, optionally with arguments as a JSON object, such as "
            "'TimeLimit={\"max_episode_steps\": 100}'."
        )
    return WrapperInfo(name=name, kwargs=kwargs)


def _found(name: str) -> Any:
    """A wrapper's class, named as in gymnasium.wrappers or as module:Class."""
    if name in _OWN:
        return _OWN[name]
    module, _, kind = name.rpartition(":")
    try:
        found = getattr(importlib.import_module(module or "gymnasium.wrappers"), kind, None)
    except ImportError as error:
        raise ValueError(f"--wrapper is {name!r}, whose module cannot be imported: {error}.") from error
    if found is None:
        known = dir(importlib.import_module(module or "gymnasium.wrappers"))
        near = difflib.get_close_matches(kind, known, n=1)
        advice = f" Did you mean {near[0]}?" if near else ""
        own = "" if module else " For another package's wrapper, add the module, as in my_module:MyWrapper."
        raise ValueError(f"--wrapper is {name!r}; {module or 'gymnasium.wrappers'} has no {kind}.{advice}{own}")
    return found
