"""Any space that Gymnasium can nest: observations become rows, and a network for it is exported faithfully."""

import re
from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from dqn_models.manifest import EnvironmentInfo
from dqn_models.policy import Policy, PreparedRun
from dqn_models.spaces import DiscreteSpace, ObservationSpace
from dqn_training.config import DQNConfig
from dqn_training.envs.spaces import observation_space_of
from dqn_training.export.onnx_graph import export
from dqn_training.export.parity import check_parity
from dqn_training.networks.q_network import make_q_network

Space = spaces.Space[Any]
SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)
DTYPES = st.sampled_from([np.float32, np.float64, np.int16, np.int64, np.uint8, np.bool_])


def _box(shape: tuple[int, ...], dtype: Any) -> Space:
    return spaces.Box(0, 1 if dtype is np.bool_ else 9, shape, dtype)


LEAVES: st.SearchStrategy[Space] = st.one_of(
    st.builds(_box, SHAPES, DTYPES),
    st.builds(lambda n, start: spaces.Discrete(n, start=start), st.sampled_from([1, 3, 700]), st.integers(-5, 5)),
    st.builds(
        lambda nvec, start: spaces.MultiDiscrete(nvec, start=np.full(len(nvec), start)),
        st.lists(st.sampled_from([1, 4, 300]), min_size=1, max_size=3),
        st.integers(-2, 2),
    ),
    st.builds(lambda shape: spaces.MultiBinary(shape or 1), SHAPES),
    st.just(spaces.Box(0, 255, (9, 8, 3), np.uint8)),
    st.just(spaces.Text(4)),
)
ANY: st.SearchStrategy[Space] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3).map(spaces.Dict),
        st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple),
    ),
    max_leaves=5,
)


def described(space: Space) -> ObservationSpace | None:
    """The manifest's space after a round trip through JSON; None if there is nothing to read."""
    try:
        found, _ = observation_space_of("any", space)
    except ValueError as error:
        assert "which a network cannot read" in str(error)  # noqa: PT017  (the other outcome returns)
        return None
    adapter: TypeAdapter[ObservationSpace] = TypeAdapter(ObservationSpace)
    again = adapter.validate_json(adapter.dump_json(found))
    assert again == found
    return again


TWO = spaces.Discrete(2)


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (spaces.Dict({"a.b": TWO, "a": spaces.Dict(b=TWO)}), "two leaves are named 'a.b'. Rename them"),
        (spaces.Dict({"": TWO}), "a leaf has no name. Rename them"),
        (spaces.Dict(cast(Any, {1: TWO})), "has the key 1; JSON requires a string, such as '1'"),
    ],
)
def test_parts_without_a_unique_name_are_refused(space: Space, sentence: str) -> None:
    """Each leaf is an input of the graph under its name."""
    with pytest.raises(ValueError, match=re.escape(sentence)):
        observation_space_of("any", space)


@given(ANY, st.integers(0, 1_000))
@settings(max_examples=150, deadline=None)
def test_an_observation_is_the_same_as_a_row(space: Space, seed: int) -> None:
    """Every leaf that is not left out is in the row, in the place of its name, with the environment's values."""
    found = described(space)
    if found is None:
        return
    space.seed(seed)
    observation = space.sample()
    row = found.flatten(observation)
    for leaf in found.leaves:
        value = observation
        for key in leaf.path:
            value = value[key]
        own = row[leaf.name] if leaf.path else row
        assert (np.asarray(value, leaf.space.tensor_dtype) == own).all()


@given(ANY, st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_network_of_any_space_is_exported_faithfully(space: Space, normalize: bool) -> None:  # noqa: FBT001
    """The graph has an input for each leaf and computes what the network computes, also for one observation."""
    found = described(space)
    if found is None:
        return
    environment = EnvironmentInfo(
        id="any", gymnasium_version="0", observation_space=found, action_space=DiscreteSpace(n=3)
    )
    torch.manual_seed(0)
    network = make_q_network(DQNConfig(hidden_sizes=(8,), normalize=normalize), found, DiscreteSpace(n=3))
    policy = Policy(export(network, environment))
    seen = found.sample(np.zeros(2, found.row_dtype), 40, np.random.default_rng(0))
    check_parity(network, policy, environment, seen, seed=0)
    assert [value.name for value in policy.inputs] == [leaf.input_name for leaf in found.leaves]
    prepared = PreparedRun(policy)
    assert (prepared(seen[0])[0] == policy.run(seen[:1])[0]).all()
