"""Spaces as the manifest writes them, and the dtype and shape that replay and the ONNX graph use for them."""

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from dqn_models.manifest import BoxSpace, DiscreteSpace


def observation_dtype(space: BoxSpace | DiscreteSpace) -> np.dtype[Any]:
    """The dtype of the observations that replay keeps and the ONNX graph takes; a bool is a uint8 of 0 or 1."""
    if isinstance(space, DiscreteSpace):
        return np.dtype(np.int64)
    return np.dtype(np.uint8 if space.dtype in ("uint8", "bool") else np.float32)


def observation_shape(space: BoxSpace | DiscreteSpace) -> tuple[int, ...]:
    """The shape of one observation; a Discrete one is a scalar."""
    return tuple(space.shape) if isinstance(space, BoxSpace) else ()


def described_observation_space(env_id: str, space: spaces.Space[Any]) -> BoxSpace | DiscreteSpace:
    """The space for the manifest. Raises ValueError when a policy cannot take such observations."""
    if isinstance(space, spaces.Discrete):
        return DiscreteSpace(n=int(space.n), start=int(space.start))
    if isinstance(space, spaces.Box) and space.shape and all(space.shape):
        return BoxSpace(shape=list(space.shape), dtype=str(space.dtype), low=_bound(space.low), high=_bound(space.high))
    raise ValueError(
        f"{env_id} has the observation space {space}; a DQN policy here takes a Box with at least one element or a "
        "Discrete. Wrap the environment, for example with gymnasium.wrappers.FlattenObservation."
    )


def described_action_space(env_id: str, space: spaces.Space[Any]) -> DiscreteSpace:
    """The space for the manifest. Raises ValueError when it is not Discrete."""
    if isinstance(space, spaces.Discrete):
        return DiscreteSpace(n=int(space.n), start=int(space.start))
    raise ValueError(f"{env_id} has the action space {space}; DQN needs a Discrete one.")


def _bound(bound: NDArray[Any]) -> float | list[float]:
    flat = bound.astype(np.float64).ravel()
    return float(flat[0]) if (flat == flat[0]).all() else flat.tolist()
