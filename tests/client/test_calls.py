"""Every method of both clients against a real server."""

from collections import deque
from typing import Any

import numpy as np
import pytest

from dqn_client import Action, Actions, QValues, Readiness
from dqn_models.repository import ModelRepository
from dqn_testing.fixtures import TOKEN
from dqn_testing.repositories import publish_linear
from dqn_testing.server import Server, running_server
from tests.client.clients import open_client

RIGHT = [0.1, 0.2, 0.3, 0.4]
LEFT = [-0.5, 0.1, -0.3, 0.2]


def test_act(client: Any) -> None:
    """One observation gives the champion's action, with its model and version."""
    assert client.act(RIGHT) == Action(action=1, model="cartpole", version=1)
    assert client.act(LEFT).action == 0


@pytest.mark.parametrize(
    "observation",
    [
        tuple(RIGHT),
        np.array(RIGHT),
        np.array(RIGHT, np.float32),
        np.array(RIGHT, ">f2"),
        [np.float32(value) for value in RIGHT],
        deque(RIGHT),
    ],
    ids=["tuple", "float64", "float32", "big-endian half", "scalars", "deque"],
)
def test_observations_come_in_any_form(client: Any, observation: Any) -> None:
    """Tuples, arrays of any dtype, lists of scalars and other sequences are equivalent to a list of numbers."""
    assert client.act(observation).action == 1


@pytest.mark.parametrize("observation", [2, np.int64(2), np.array(2, np.uint8)], ids=["int", "scalar", "array"])
def test_discrete_observations(kind: str, server: Server, observation: Any) -> None:
    """A Discrete observation space takes an integer, Python's or NumPy's."""
    with open_client(kind, server.url, model="lake") as lake:
        assert lake.act(observation) == Action(action=2, model="lake", version=1)
        assert lake.act_batch([1, observation]).actions == (1, 2)
        assert lake.act_batch(np.arange(4)).actions == (0, 1, 2, 3)


def test_act_batch(client: Any) -> None:
    """Many observations, as lists, as arrays or as a list of arrays, give as many actions, in their order."""
    wanted = Actions(actions=(1, 0, 1), model="cartpole", version=1)
    assert client.act_batch([RIGHT, LEFT, RIGHT]) == wanted
    assert client.act_batch(np.array([RIGHT, LEFT, RIGHT], np.float32)) == wanted
    assert client.act_batch([np.array(RIGHT), LEFT, RIGHT]) == wanted


def test_q_values(client: Any) -> None:
    """Q-values come with the action, for one observation and for many."""
    one = client.q_values(RIGHT)
    assert one == QValues(q_values=one.q_values, action=1, model="cartpole", version=1)
    assert one.q_values == pytest.approx((0.0, 0.69), abs=1e-6)
    many = client.q_values_batch(np.array([RIGHT, LEFT]))
    assert many.q_values[0] == one.q_values
    assert many.actions == (1, 0)


def test_options(client: Any) -> None:
    """Version, epsilon, seed and mask reach the server, and None means not given."""
    assert client.act(RIGHT, version=3).version == 3
    assert client.act(RIGHT, version="challenger").version == 2
    assert client.act(RIGHT, epsilon=0.5).propensity in {0.25, 0.75}
    assert client.act(RIGHT, action_mask=np.array([True, False])).action == 0
    assert client.act(RIGHT, version=None, epsilon=None, seed=None, action_mask=None).propensity is None
    draws = [client.act_batch([RIGHT] * 64, epsilon=1.0, seed=seed) for seed in (5, 5, 6)]
    assert draws[0] == draws[1] != draws[2]
    assert draws[0].propensity == (0.5,) * 64
    masks = np.eye(2, dtype=np.bool_)
    assert client.q_values_batch([RIGHT, RIGHT], action_mask=masks).actions == (0, 1)


def test_unknown_option_is_a_type_error(client: Any) -> None:
    """A misspelt option raises a TypeError."""
    with pytest.raises(TypeError, match="eps"):
        client.act(RIGHT, eps=0.1)


def test_catalog(client: Any, server: Server) -> None:
    """Models, one model, manifests and readiness are those of the server."""
    assert [model.model for model in client.models()] == ["cartpole", "lake"]
    cartpole = client.model()
    assert (cartpole.model, cartpole.is_default, cartpole.champion) == ("cartpole", True, 1)
    assert cartpole.versions == (1, 2, 3)
    assert cartpole.aliases == {"challenger": 2, "champion": 1}
    assert client.model("lake").model == "lake"
    assert client.manifest() == server.get("/models/cartpole/versions/1").json()
    assert client.manifest("challenger")["version"] == 2
    assert client.manifest(3)["version"] == 3
    readiness = client.ready()
    assert readiness == Readiness(ready=True, model="cartpole", version=1)
    assert readiness


def test_promote_and_refresh(kind: str, empty: ModelRepository) -> None:
    """A promotion takes effect before it returns; refresh picks up what another process promoted."""
    publish_linear(empty, promote=True)
    publish_linear(empty, bias=1.0)
    with (
        running_server(empty, env={"DQN_API_TOKEN": TOKEN}, refresh_seconds=3600) as server,
        open_client(kind, server.url, model="cartpole", token=TOKEN) as client,
    ):
        promotion = client.promote(2)
        assert (promotion.alias, promotion.version, promotion.previous, promotion.champion) == ("champion", 2, 1, 2)
        assert client.act(RIGHT).version == 2
        assert client.promote(1, alias="canary").champion == 2
        assert client.act(RIGHT, version="canary").version == 1
        empty.promote("cartpole", 1)
        refreshed = client.refresh()
        assert (refreshed.outcome, refreshed.champion, refreshed.detail) == ("refreshed", 1, None)
        assert client.act(RIGHT).version == 1
