"""Spaces of observations and actions."""

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

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

IMAGE = BoxSpace(shape=[2, 3], dtype="uint8", low=0, high=255)
SCALAR = BoxSpace(shape=[], dtype="float64", low=-1, high=1)
NESTED = DictSpace(
    spaces={
        "image": IMAGE,
        "goal": TupleSpace(spaces=[SCALAR, None, DiscreteSpace(n=3, start=-1)]),
        "switches": MultiBinarySpace(shape=[2]),
        "hands": MultiDiscreteSpace(nvec=[4, 5], start=[0, 1]),
    }
)
OBSERVATION = {
    "image": [[1, 2, 3], [4, 5, 6]],
    "goal": (0.5, "ignored", -1),
    "switches": np.array([0, 1], np.int8),
    "hands": [3, 5],
    "mission": "ignored, too",
}
OBSERVED: TypeAdapter[Any] = TypeAdapter(ObservationSpace)
ACTED: TypeAdapter[Any] = TypeAdapter(ActionSpace)


@pytest.mark.parametrize("space", [IMAGE, SCALAR, NESTED, *(leaf.space for leaf in NESTED.leaves)])
def test_a_space_survives_json(space: Any) -> None:
    """A manifest's space reads back as it was."""
    assert OBSERVED.validate_json(OBSERVED.dump_json(space)) == space


def test_leaves_have_names_and_graph_inputs() -> None:
    """A leaf is named by its dotted path, also in the graph; a space that is itself a leaf has one plain input."""
    assert [leaf.name for leaf in NESTED.leaves] == ["image", "goal.0", "goal.2", "switches", "hands"]
    assert [leaf.input_name for leaf in NESTED.leaves][:2] == ["observation.image", "observation.goal.0"]
    assert [leaf.input_name for leaf in IMAGE.leaves] == ["observation"]


def test_a_row_has_every_leaf_of_an_observation() -> None:
    """Flattening keeps each leaf under its name, and ignores what is left out of the space."""
    row = NESTED.flatten(OBSERVATION)
    assert row.dtype == NESTED.row_dtype
    assert row["image"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert (row["goal.0"].item(), row["goal.2"].item(), row["hands"].tolist()) == (0.5, -1, [3, 5])
    assert [row.dtype[name].base.name for name in row.dtype.names or ()] == [
        "uint8",
        "float32",
        "int64",
        "uint8",
        "int64",
    ]
    assert np.array([NESTED.values(OBSERVATION)], NESTED.row_dtype)[0] == row


@pytest.mark.parametrize("space", [IMAGE, SCALAR, NESTED, DiscreteSpace(n=5), MultiBinarySpace(shape=[3])])
def test_memory_is_one_array_for_any_space(space: Any) -> None:
    """Rows are allocated, written, sampled, taken and concatenated in the same way for every space."""
    seen = np.zeros(4, space.row_dtype)
    sampled = space.sample(seen, 6, np.random.default_rng(0))
    rows = np.concatenate([seen, sampled])
    assert rows.dtype == seen.dtype
    assert rows.take([0, 5], axis=0).shape == (2, *space.tensor_shape)


@pytest.mark.parametrize(
    "wrong",
    [OBSERVATION | {"image": [1, 2, 3]}, OBSERVATION | {"goal": (0.5,)}, {}, [1], OBSERVATION | {"hands": ["x", 1]}],
    ids=["shape", "short tuple", "nothing", "a list", "a text"],
)
def test_an_observation_that_does_not_fit_is_refused(wrong: Any) -> None:
    """A missing or misshapen leaf raises; it is never filled up."""
    with pytest.raises((ValueError, KeyError, IndexError, TypeError)):
        NESTED.flatten(wrong)


@pytest.mark.parametrize(
    "space",
    [NESTED, IMAGE, SCALAR, MultiDiscreteSpace(nvec=[2, 2]), BoxSpace(shape=[70, 70], dtype="u1", low=0, high=1)],
)
def test_the_example_is_in_the_space_s_own_form(space: Any) -> None:
    """An example made of the manifest's statistics flattens to a row."""
    example = space.example([0.6] * space.described_elements)
    assert space.flatten(example).dtype == np.zeros(0, space.row_dtype).dtype


ACTIONS = [
    (DiscreteSpace(n=3, start=5), [5, 6, 7], "int64"),
    (MultiDiscreteSpace(nvec=[2, 3], start=[0, 1]), [[0, 1], [0, 2], [0, 3], [1, 1], [1, 2], [1, 3]], "int64"),
    (MultiBinarySpace(shape=[2]), [[0, 0], [0, 1], [1, 0], [1, 1]], "int64"),
    (
        DiscretizedBoxSpace(shape=[2], dtype="float32", low=[-1, 0], high=[1, 2], discretize=2),
        [[-1, 0], [-1, 2], [1, 0], [1, 2]],
        "float32",
    ),
    (DiscretizedBoxSpace(shape=[], dtype="float32", low=-1, high=1, discretize=3), [-1, 0, 1], "float32"),
    (DiscretizedBoxSpace(shape=[1], dtype="int16", low=0, high=5, discretize=3), [[0], [2], [5]], "float32"),
]


@pytest.mark.parametrize(("space", "expected", "dtype"), ACTIONS, ids=lambda value: getattr(value, "type", None))
def test_joint_actions_count_in_c_order(space: Any, expected: list[Any], dtype: str) -> None:
    """Each index is one action in the environment's own form, the first component the slowest, and JSON keeps them."""
    found = space.action(np.arange(space.n))
    assert found.tolist() == expected
    assert (found.dtype.name, space.action_dtype.name) == (dtype, dtype)
    assert np.asarray(space.action(1)).tolist() == expected[1]
    assert ACTED.validate_json(ACTED.dump_json(space)) == space


TWO = {"type": "Discrete", "n": 2}


@pytest.mark.parametrize(
    "document",
    [
        {"type": "Dict", "spaces": {}},
        {"type": "Dict", "spaces": {"a.b": TWO, "a": {"type": "Dict", "spaces": {"b": TWO}}}},
        {"type": "Tuple", "spaces": [None]},
        {"type": "MultiDiscrete", "nvec": [2, 0]},
        {"type": "MultiDiscrete", "nvec": [2, 2], "shape": [3]},
        {"type": "Text"},
    ],
    ids=["empty", "equal names", "nothing to see", "no value", "shape", "text"],
)
def test_spaces_that_no_policy_has_are_refused(document: Any) -> None:
    """A space without leaves, or with two of the same name, cannot be in a manifest."""
    with pytest.raises(ValidationError):
        OBSERVED.validate_python(document)


def test_steps_need_bounds() -> None:
    """An action without bounds cannot be divided into steps."""
    with pytest.raises(ValidationError, match="finite bounds"):
        DiscretizedBoxSpace(shape=[1], dtype="float32", low=float("-inf"), high=1, discretize=3)
