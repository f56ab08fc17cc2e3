"""Conversion of Gymnasium's spaces to those of the manifest, or an explanation why a space is not supported."""

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


def observation_space_of(env_id: str, space: AnySpace) -> tuple[ObservationSpace, list[str]]:
    """The observation space for the manifest, and the names of the leaves that it leaves out.

    Raises ValueError if a policy cannot take such observations.
    """
    left_out: list[str] = []
    try:
        found = _space(space, (), left_out)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(
            f"{env_id} has the observation space {space}, in which {reason}. Rename them with a wrapper, as in "
            "--wrapper my_module:MyWrapper."
        ) from error
    if found is None:
        raise ValueError(
            f"{env_id} has the observation space {space}, which a network cannot read; expected a Box, Discrete, "
            "MultiDiscrete or MultiBinary, or a Dict or Tuple that contains one. Convert its observations with a "
            "wrapper, as in --wrapper my_module:MyWrapper; packages often provide one."
        )
    return found, left_out


def action_space_of(env_id: str, space: AnySpace, discretize: int | None, *, branching: bool = False) -> ActionSpace:
    """The action space for the manifest; actions branch if there are too many of them, or if `branching` is set.

    Raises ValueError if a policy cannot choose such actions.
    """
    if isinstance(space, spaces.Discrete):
        return DiscreteSpace(n=int(space.n), start=int(space.start))
    if isinstance(space, spaces.Box):
        return _branched(_discretized(env_id, space, discretize), always=branching)
    found = _multi(space)
    if found is None:
        raise ValueError(
            f"{env_id} has the action space {space}; DQN supports Discrete, MultiDiscrete and MultiBinary spaces, and "
            "Box with --discretize. Convert it to one of these with a wrapper, as in --wrapper my_module:MyWrapper."
        )
    return _branched(found, always=branching)


def describe_branching(environment: EnvironmentInfo) -> str:
    """A sentence about the branching actions of an environment."""
    actions = environment.action_space
    components, count = actions.components, math.prod(actions.components)
    exact = f"{count:,}" if count < _MOST_SHOWN else f"about {Decimal(count):.0e}"
    reason = f"more than the {MAX_JOINT_ACTIONS:,} that can have a Q-value each"
    if count <= MAX_JOINT_ACTIONS:
        reason = "and --branching is on"
    made = f"{len(components)} components make" if len(components) > 1 else "one component makes"
    return (
        f"Actions branch: their {made} {exact} combinations, {reason}. So each component is "
        f"chosen independently, with {sum(components):,} Q-values in total, one for each of its values."
    )


def _branched(space: ComponentSpace, *, always: bool) -> ComponentSpace:
    """The space with branching actions if there are too many of them, or `always`."""
    branching = always or math.prod(space.components) > MAX_JOINT_ACTIONS
    return space.model_copy(update={"branching": branching})


def _discretized(env_id: str, space: spaces.Box, discretize: int | None) -> DiscretizedBoxSpace:
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise ValueError(
            f"{env_id} has the action space {space}, which is unbounded and cannot be discretized. Set bounds that "
            f"suit the environment, e.g. --wrapper 'BoundedAction={_example_bounds(space)}'."
        )
    if discretize is None:
        raise ValueError(
            f"{env_id} has the continuous action space {space}; DQN chooses among a finite number of actions. "
            f"{_division(math.prod(space.shape))}"
        )
    return DiscretizedBoxSpace(**_box(space), discretize=discretize)


def _example_bounds(space: spaces.Box) -> str:
    """Arguments of BoundedAction as JSON: existing bounds; missing ones are 1 away from the other bound or from 0."""
    low = np.where(np.isfinite(space.low), space.low, np.where(np.isfinite(space.high), space.high - 1, -1))
    high = np.where(np.isfinite(space.high), space.high, np.where(np.isfinite(space.low), space.low + 1, 1))
    ends = {"low": low, "high": high}
    return json.dumps(
        {name: float(end.flat[0]) if (end == end.flat[0]).all() else end.tolist() for name, end in ends.items()}
    )


def _division(elements: int) -> str:
    """How to discretize a continuous action with this number of elements: jointly if three values of each fit."""
    fits = next((values for values in (5, 3) if values**elements <= MAX_JOINT_ACTIONS), 5)
    what = "it" if elements == 1 else f"each of its {elements} elements"
    return f"--discretize {fits} gives {what} {fits} values."


def _space(space: AnySpace, path: tuple[str, ...], left_out: list[str]) -> ObservationSpace | None:
    """The space for the manifest; None if nothing in it can be read. Unreadable leaves are added to `left_out`."""
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
            raise ValueError(  # noqa: TRY004  (about a user's space)
                f"The observation space has the key {key!r}; JSON requires a string, such as {str(key)!r}."
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
