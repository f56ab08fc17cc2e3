"""Models with spaces of every kind, and observations of each as an environment returns them."""

from typing import Any

import numpy as np

from dqn_models.repository import ModelRepository
from dqn_models.spaces import (
    ActionSpace,
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    DiscretizedBoxSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    ObservationSpace,
    TupleSpace,
)
from dqn_testing.repositories import publish_linear
from dqn_testing.spaces import publish_space

NESTED = DictSpace(
    spaces={
        "image": BoxSpace(shape=[3, 4, 3], dtype="uint8", low=0, high=255),
        "goal": DictSpace(
            spaces={
                "position": BoxSpace(shape=[2], dtype="float64", low=-9, high=9),
                "near": TupleSpace(spaces=[MultiBinarySpace(shape=[2])]),
            }
        ),
        "hands": MultiDiscreteSpace(nvec=[3, 4], start=[1, -2]),
        "flags": BoxSpace(shape=[2, 2], dtype="bool", low=0, high=1),
        "height of it": BoxSpace(shape=[], dtype="float32", low=0, high=1),
    }
)
OBSERVATION_SPACES: dict[str, ObservationSpace] = {
    "nested": NESTED,
    "tuple": TupleSpace(spaces=[None, DiscreteSpace(n=3, start=-1), DiscreteSpace(n=2_000)]),
    "single": DictSpace(spaces={"only": BoxSpace(shape=[3], dtype="float32", low=-1, high=1)}),
    "scalar": BoxSpace(shape=[], dtype="float32", low=-1, high=1),
    "multidiscrete": MultiDiscreteSpace(nvec=[4, 5, 4, 5], start=[1, -2, 1, -2], shape=[2, 2]),
    "multibinary": MultiBinarySpace(shape=[2, 3]),
    "branches": BoxSpace(shape=[3], dtype="float32", low=-1, high=1),
    "levels": BoxSpace(shape=[3], dtype="float32", low=-1, high=1),
}
"""By model."""
ACTION_SPACES: dict[str, ActionSpace] = {
    "nested": MultiDiscreteSpace(nvec=[2, 3], start=[0, -1]),
    "tuple": DiscreteSpace(n=4, start=5),
    "single": DiscretizedBoxSpace(shape=[2], dtype="float32", low=[-2, 0], high=[2, 1], discretize=3),
    "scalar": MultiBinarySpace(shape=[2, 2]),
    "multidiscrete": MultiDiscreteSpace(nvec=[3, 2]),
    "multibinary": DiscretizedBoxSpace(shape=[], dtype="float32", low=-1, high=1, discretize=5),
    "branches": MultiDiscreteSpace(nvec=[3, 2, 4], start=[0, -1, 2], branching=True),
    "levels": DiscretizedBoxSpace(
        shape=[2, 4], dtype="float32", low=-1, high=[1.0] * 7 + [3.0], discretize=5, branching=True
    ),
}
"""The last has 390,625 combinations."""
LEFT_OUT = {"nested": ("mission", "goal.objects", "other.words"), "tuple": ("0",)}

_DRAWS = np.random.default_rng(3)


def publish_spaces(store: ModelRepository) -> None:
    """Publishes a model for each space, and one for CartPole."""
    for model, space in OBSERVATION_SPACES.items():
        publish_space(store, model, space, ACTION_SPACES[model], *LEFT_OUT.get(model, ()))
    publish_linear(store, promote=True)


def some_indices(space: ActionSpace) -> Any:
    """The index of every action, or of a dozen where actions branch."""
    return space.random(_DRAWS, 12) if space.branches else np.arange(space.n)


def only(space: ActionSpace, index: Any) -> list[bool]:
    """The mask that allows a single action."""
    mask = np.zeros(space.n, np.bool_)
    mask[space.q_positions(index)] = True
    return [bool(flag) for flag in mask]


def observe(model: str) -> Any:
    """A random observation of a model's space, as an environment returns it: with arrays and left-out parts."""
    if model == "nested":
        return {
            "mission": "go to the red ball",
            "image": _DRAWS.integers(0, 256, (3, 4, 3), np.uint8),
            "goal": {
                "objects": (1, 2),
                "position": _DRAWS.normal(size=2),
                "near": (_DRAWS.integers(0, 2, 2, np.int8),),
            },
            "hands": np.array([_DRAWS.integers(1, 4), _DRAWS.integers(-2, 2)]),
            "flags": _DRAWS.integers(0, 2, (2, 2)).astype(bool),
            "height of it": np.float32(_DRAWS.random()),
            "other": {"words": ["a", "b"]},
        }
    if model == "tuple":
        return ("text", _DRAWS.integers(-1, 2), _DRAWS.integers(2_000))
    if model in ("single", "branches", "levels"):
        vector = _DRAWS.random(3, np.float32)
        return {"only": vector} if model == "single" else vector
    if model == "scalar":
        return np.float32(_DRAWS.random())
    if model == "multidiscrete":
        return _DRAWS.integers([[1, -2], [1, -2]], [[5, 3], [5, 3]])
    return _DRAWS.integers(0, 2, (2, 3), np.int8)


def plain(observation: Any) -> Any:
    """The same as JSON values."""
    if isinstance(observation, dict):
        return {key: plain(value) for key, value in observation.items()}
    if isinstance(observation, tuple | list):
        return [plain(value) for value in observation]
    return observation.tolist() if hasattr(observation, "tolist") else observation
