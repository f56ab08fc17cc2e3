"""Gymnasium's spaces to those of the manifest, and what stands in the way where a policy cannot have one."""

import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import ValidationError

from dqn_models.manifest import EnvironmentInfo
from dqn_models.spaces import (
    MAX_JOINT_ACTIONS,
    ActionSpace,
    BoxSpace,
    ComponentActions,
    DictSpace,
    DiscreteSpace,
    DiscretizedBoxSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    ObservationSpace,
    TupleSpace,
)

AnySpace = spaces.Space[Any]
ComponentSpace = TypeVar("ComponentSpace", bound=ComponentActions)

_MOST_SHOWN = 10**12


def observed(env_id: str, space: AnySpace) -> tuple[ObservationSpace, list[str]]:
    """The space of observations for the manifest, and the names of the leaves that it leaves out.

    Raises ValueError when a policy cannot take such observations.
    """
    left_out: list[str] = []
    try:
        found = _space(space, (), left_out)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(
            f"{env_id} has the observation space {space}, in which {reason}. Rename them by a wrapper, as in --wrapper "
            "my_module:MyWrapper."
        ) from error
    if found is None:
        raise ValueError(
            f"{env_id} has the observation space {space}, in which there is nothing that a network can read: a Box, "
            "Discrete, MultiDiscrete or MultiBinary, or a Dict or Tuple with one of these in it. Turn its observations "
            "into numbers by a wrapper, as in --wrapper my_module:MyWrapper; packages often bring one."
        )
    return found, left_out


def acted(env_id: str, space: AnySpace, discretize: int | None, *, branching: bool = False) -> ActionSpace:
    """The space of actions for the manifest, which branch if there are too many of them, or if `branching`.

    Raises ValueError when a policy cannot choose such actions.
    """
    if isinstance(space, spaces.Discrete):
        return DiscreteSpace(n=int(space.n), start=int(space.start))
    if isinstance(space, spaces.Box):
        return _branched(_discretized(env_id, space, discretize), always=branching)
    found = _multi(space)
    if found is None:
        raise ValueError(
            f"{env_id} has the action space {space}; a DQN policy chooses among the actions of a Discrete, "
            "MultiDiscrete or MultiBinary space, or of a Box with --discretize. Turn it into one of these by a "
            "wrapper, as in --wrapper my_module:MyWrapper."
        )
    return _branched(found, always=branching)


def branching_in_words(environment: EnvironmentInfo) -> str:
    """A sentence about the actions of an environment that branch."""
    actions = environment.action_space
    components, count = actions.components, math.prod(actions.components)
    exact = f"{count:,}" if count < _MOST_SHOWN else f"about {Decimal(count):.0e}"
    return (
        f"Actions branch: their {len(components)} components make {exact} combinations, and a policy has a Q-value for "
        f"each of at most {MAX_JOINT_ACTIONS:,}. So each component is chosen by itself, by {sum(components):,} "
        "Q-values in all, one for each of its values."
    )


def _branched(space: ComponentSpace, *, always: bool) -> ComponentSpace:
    """The space with actions that branch if there are too many of them, or always."""
    branching = always or math.prod(space.components) > MAX_JOINT_ACTIONS
    return space.model_copy(update={"branching": branching})


def _discretized(env_id: str, space: spaces.Box, discretize: int | None) -> DiscretizedBoxSpace:
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise ValueError(
            f"{env_id} has the action space {space}, which has no bounds to divide it between. Give it those that suit "
            f"the environment, such as --wrapper 'BoundedAction={_example_bounds(space)}'."
        )
    if discretize is None:
        raise ValueError(
            f"{env_id} has the continuous action space {space}; DQN chooses among a finite number of actions. "
            f"{_division(math.prod(space.shape))}"
        )
    return DiscretizedBoxSpace(**_box(space), discretize=discretize)


def _example_bounds(space: spaces.Box) -> str:
    """Arguments of BoundedAction as JSON: the bounds that there are, and others one away from them, or from zero."""
    low = np.where(np.isfinite(space.low), space.low, np.where(np.isfinite(space.high), space.high - 1, -1))
    high = np.where(np.isfinite(space.high), space.high, np.where(np.isfinite(space.low), space.low + 1, 1))
    ends = {"low": low, "high": high}
    return json.dumps(
        {name: float(end.flat[0]) if (end == end.flat[0]).all() else end.tolist() for name, end in ends.items()}
    )


def _division(elements: int) -> str:
    """How a continuous action of so many elements can be divided: jointly if that leaves three values of each."""
    fits = next((values for values in (5, 3) if values**elements <= MAX_JOINT_ACTIONS), 5)
    what = "it" if elements == 1 else f"each of its {elements} elements"
    return f"--discretize {fits} divides {what} into {fits} values."


def _space(space: AnySpace, path: tuple[str, ...], left_out: list[str]) -> ObservationSpace | None:
    """None where nothing in it can be read; each such leaf is added to `left_out`."""
    if isinstance(space, spaces.Discrete):
        return DiscreteSpace(n=int(space.n), start=int(space.start))
    if isinstance(space, spaces.Box) and all(space.shape):
        return BoxSpace(**_box(space))
    if found := _multi(space):
        return found
    if isinstance(space, spaces.Dict):
        _check_keys(space)
        members = {str(key): _space(member, (*path, str(key)), left_out) for key, member in space.items()}
        seen = {key: member for key, member in members.items() if member is not None}
        return DictSpace(spaces=seen) if seen else None
    if isinstance(space, spaces.Tuple):
        places = [_space(member, (*path, str(index)), left_out) for index, member in enumerate(space)]
        return TupleSpace(spaces=places) if any(places) else None
    left_out.append(".".join(path))
    return None


def _check_keys(space: spaces.Dict) -> None:
    for key in space:
        if not isinstance(key, str):
            raise ValueError(  # noqa: TRY004  (of a user's space)
                f"An observation's part has the key {key!r}; expected a text, such as {str(key)!r}, as JSON needs it."
            )


def _multi(space: AnySpace) -> MultiDiscreteSpace | MultiBinarySpace | None:
    if isinstance(space, spaces.MultiBinary) and all(space.shape):
        return MultiBinarySpace(shape=list(space.shape))
    if isinstance(space, spaces.MultiDiscrete) and all(space.shape):
        shape = list(space.shape) if len(space.shape) != 1 else []
        start = space.start.ravel().tolist() if space.start.any() else []
        return MultiDiscreteSpace(nvec=space.nvec.ravel().tolist(), start=start, shape=shape)
    return None


def _box(space: spaces.Box) -> dict[str, Any]:
    shape, dtype = list(space.shape), str(space.dtype)
    return {"shape": shape, "dtype": dtype, "low": _bound(space.low), "high": _bound(space.high)}


def _bound(bound: NDArray[Any]) -> float | list[float]:
    flat = bound.astype(np.float64).ravel()
    return float(flat[0]) if (flat == flat[0]).all() else flat.tolist()


def leaf_spaces(space: AnySpace, observation_space: ObservationSpace) -> Iterator[AnySpace]:
    """Gymnasium's space of each leaf, in the order of `observation_space.leaves`."""
    for leaf in observation_space.leaves:
        found: Any = space
        for key in leaf.path:
            found = found[key]
        yield found
