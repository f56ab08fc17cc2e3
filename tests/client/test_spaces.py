"""Every space in the form that `env.reset()` returns, in every call and stream of both clients."""

import types
from collections import OrderedDict, UserDict
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array

from dqn_client import RequestRefusedError
from dqn_models.policy import Policy
from dqn_models.repository import ModelRepository
from dqn_testing.server import Server
from dqn_testing.spaced_models import ACTION_SPACES, OBSERVATION_SPACES, observe, only, some_indices
from tests.client.clients import open_client

TAKEN: dict[str, Any] = {
    "nested": spaces.MultiDiscrete([2, 3], start=[0, -1]),
    "tuple": spaces.Discrete(4, start=5),
    "single": spaces.Box(np.array([-2, 0], np.float32), np.array([2, 1], np.float32)),
    "scalar": spaces.MultiBinary((2, 2)),
    "multidiscrete": spaces.MultiDiscrete([3, 2]),
    "multibinary": spaces.Box(-1, 1, (), np.float32),
    "branches": spaces.MultiDiscrete([3, 2, 4], start=[0, -1, 2]),
    "levels": spaces.Box(-1, np.array([[1, 1, 1, 1], [1, 1, 1, 3]], np.float32), (2, 4), np.float32),
}
"""The environment's action space, by model."""


def test_every_space_is_covered() -> None:
    """Every served model has its environment's action space here."""
    assert TAKEN.keys() == OBSERVATION_SPACES.keys()


@pytest.mark.parametrize("model", OBSERVATION_SPACES)
def test_observations_in_the_form_of_the_space(
    kind: str, spaced: Server, spaced_store: ModelRepository, model: str
) -> None:
    """Dicts, tuples, arrays and scalars are sent as the environment returns them; the actions are those of the file."""
    policy: Policy = spaced_store.load_policy(model, 1)
    observations = [observe(model) for _ in range(4)]
    space = OBSERVATION_SPACES[model]
    rows = np.array([space.flatten(observation) for observation in observations], space.tensor_dtype)
    q_values, actions = policy.run(rows)
    expected = [action.tolist() for action in actions]
    with open_client(kind, spaced.url, model=model) as client:
        assert [client.act(observation).action for observation in observations] == expected
        assert list(client.act_batch(observations).actions) == expected
        np.testing.assert_allclose(client.q_values(observations[0]).q_values, q_values[0], rtol=1e-5, atol=1e-4)
        assert list(client.q_values_batch(observations).actions) == expected
        for encoding in ("msgpack", "json"):
            with client.stream(encoding=encoding) as stream:
                assert [stream.act(observation).action for observation in observations] == expected


def nested_space(*, with_text: bool) -> spaces.Dict:
    """Gymnasium's space of the model `nested`, with the parts that no network reads or without them."""
    near = spaces.Tuple([spaces.MultiBinary(2)])
    goal = {"position": spaces.Box(-9, 9, (2,), np.float64), "near": near}
    unread: dict[str, spaces.Space[Any]] = {"mission": spaces.Text(30)} if with_text else {}
    if with_text:
        goal["objects"] = spaces.Sequence(spaces.Discrete(5))
    return spaces.Dict(
        {
            **unread,
            "image": spaces.Box(0, 255, (3, 4, 3), np.uint8),
            "goal": spaces.Dict(goal),
            "hands": spaces.MultiDiscrete([3, 4], start=[1, -2]),
            "flags": spaces.Box(0, 1, (2, 2), np.bool_),
            "height of it": spaces.Box(0, 1, (), np.float32),
        }
    )


@pytest.mark.parametrize("with_text", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_batches_in_the_form_of_a_vector_environment(kind: str, spaced: Server, count: int, *, with_text: bool) -> None:
    """A dict of arrays as gymnasium.vector gives it is what its observations one by one are."""
    space = nested_space(with_text=with_text)
    space.seed(5)
    singles = [space.sample() for _ in range(count)]
    empty = create_empty_array(space, count)
    assert isinstance(empty, dict)
    batch = concatenate(space, singles, empty)
    assert isinstance(batch, dict)
    with open_client(kind, spaced.url, model="nested") as client:
        assert client.act_batch(batch).actions == client.act_batch(singles).actions
        assert client.q_values_batch(batch).q_values == client.q_values_batch(singles).q_values


def test_structured_arrays_are_batches_too(kind: str, spaced: Server) -> None:
    """One field for each part; a Tuple space's batch is separated by zip."""
    rows = np.array([((0.1, -0.2, 0.3),), ((0.4, 0.5, -0.6),)], [("only", np.float32, 3)])
    with open_client(kind, spaced.url, model="single") as client:
        expected = client.act_batch([{"only": row["only"]} for row in rows]).actions
        assert client.act_batch(rows).actions == expected
        assert client.act_batch({"only": rows["only"]}).actions == expected
    both = (("a", "b"), np.array([-1, 1]), np.array([7, 1_900]))
    with open_client(kind, spaced.url, model="tuple") as client:
        expected = tuple(client.act(each).action for each in zip(*both, strict=True))
        assert client.act_batch(list(zip(*both, strict=True))).actions == expected


def test_parts_for_different_numbers_of_observations_are_refused(kind: str, spaced: Server) -> None:
    """Before anything is sent."""
    batch = {"image": np.zeros((3, 2)), "hands": np.zeros((2, 2))}
    with (
        open_client(kind, spaced.url, model="nested") as client,
        pytest.raises(ValueError, match="has 2 rows; expected 3, as the first array has"),
    ):
        client.act_batch(batch)
    with open_client(kind, spaced.url) as client, pytest.raises(ValueError, match=r"is 0\.5; expected an array"):
        client.act_batch({"height": 0.5})


@pytest.mark.parametrize("model", OBSERVATION_SPACES)
def test_actions_are_what_the_environment_takes(kind: str, spaced: Server, model: str) -> None:
    """`np.asarray(action, env.action_space.dtype)` is in the environment's action space, greedy and explored."""
    space = ACTION_SPACES[model]
    last = some_indices(space)[-1]
    with open_client(kind, spaced.url, model=model) as client:
        for seed in range(8):
            answer = client.act(observe(model), epsilon=0.5, seed=seed)
            assert TAKEN[model].contains(np.asarray(answer.action, TAKEN[model].dtype))
            assert answer.propensity is not None
        masked = client.act(observe(model), action_mask=np.array(only(space, last)))
        assert masked.action == space.action(last).tolist()


def test_a_tuple_of_masks_of_actions_that_branch(kind: str, spaced: Server) -> None:
    """One mask a component, as Gymnasium has them, however many combinations there are; by a stream as well."""
    space, observation = ACTION_SPACES["levels"], observe("levels")
    index = some_indices(space)[0]
    masks = tuple(np.arange(5) == step for step in index)
    with open_client(kind, spaced.url, model="levels") as client, client.stream() as stream:
        for answer in (client.act(observation, action_mask=masks), stream.act(observation, action_mask=masks)):
            assert answer.action == space.action(index).tolist()


@pytest.mark.parametrize("wrap", [OrderedDict, UserDict, types.MappingProxyType], ids=lambda wrap: wrap.__name__)
def test_any_mapping(kind: str, spaced: Server, wrap: Any) -> None:
    """A mapping need not be a dict."""
    observation = observe("single")
    with open_client(kind, spaced.url, model="single") as client:
        expected = client.act(observation).action
        assert client.act(wrap(observation)).action == expected
        with client.stream() as stream:
            assert stream.act(wrap(observation)).action == expected


def test_refusals_name_the_part(kind: str, spaced: Server) -> None:
    """The error's message is the server's sentence about the part; NaN is named as well."""
    wrong = observe("nested")
    wrong["goal"]["position"][1] = np.nan
    expected = "observation.goal.position[1] is NaN; nested version 1 expects a finite float32 number."
    with open_client(kind, spaced.url, model="nested") as client:
        with pytest.raises(RequestRefusedError) as refused:
            client.act(wrong)
        assert refused.value.detail == expected
        with client.stream() as stream, pytest.raises(RequestRefusedError) as refused:
            stream.act(wrong)
        assert refused.value.detail == expected


def test_the_catalog_shows_the_spaces(kind: str, spaced: Server) -> None:
    """`client.model()` has the spaces of its champion, whose example observation is accepted."""
    with open_client(kind, spaced.url, model="nested") as client:
        known = client.model()
        assert known.spaces["n_actions"] == 6
        assert client.act(known.spaces["example_observation"]).version == 1
        assert all(each.spaces is None for each in client.models())
