"""Streams of both clients against a real server."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import dqn_client
from dqn_client import Action
from dqn_models.repository import ModelRepository
from dqn_testing.fixtures import TOKEN
from dqn_testing.repositories import publish_linear
from dqn_testing.server import Server, running_server, wait_until
from tests.client.clients import open_client

RIGHT = [0.1, 0.2, 0.3, 0.4]
ENCODINGS = ["msgpack", "json"]


@pytest.fixture
def store(empty: ModelRepository) -> ModelRepository:
    """`cartpole` with versions 1 (champion) and 2."""
    publish_linear(empty, promote=True)
    publish_linear(empty, bias=1.0)
    return empty


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_stream_acts_as_the_call_does(client: Any, encoding: str) -> None:
    """A stream says which version answers, and gives the same actions as `act`, from lists and from arrays."""
    space = client.manifest()["environment"]
    with client.stream(encoding=encoding) as stream:
        assert (stream.model, stream.version, stream.pinned) == ("cartpole", 1, False)
        assert stream.observation_space == space["observation_space"]
        assert stream.action_space == space["action_space"]
        for observation in np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32):
            assert stream.act(observation) == client.act(observation) == stream.act(observation.tolist())


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_stream_options(client: Any, encoding: str) -> None:
    """epsilon, seed and mask mean the same as in `act`; Q-values are included if requested."""
    with client.stream(encoding=encoding, q_values=True, version="challenger") as stream:
        assert (stream.version, stream.pinned) == (2, True)
        plain = stream.act(RIGHT)
        assert (plain.action, plain.version, plain.propensity) == (1, 2, None)
        assert plain.q_values == pytest.approx(client.q_values(RIGHT, version=2).q_values)
        assert stream.act(RIGHT, action_mask=np.array([True, False])).action == 0
    with client.stream(encoding=encoding) as stream:
        for seed in range(10):
            assert stream.act(RIGHT, epsilon=0.5, seed=seed) == client.act(RIGHT, epsilon=0.5, seed=seed)
        with pytest.raises(TypeError, match="eps"):
            stream.act(RIGHT, eps=0.1)


def test_stream_of_a_discrete_model(kind: str, server: Server) -> None:
    """An integer is an observation if the space is Discrete."""
    with open_client(kind, server.url, model="lake") as client, client.stream() as stream:
        assert stream.act(2) == Action(action=2, model="lake", version=1)
        assert stream.act(np.int64(3)).action == 3
        assert stream.observation_space == {"type": "Discrete", "n": 16, "start": 0}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_refusals_leave_the_stream_open(client: Any, encoding: str) -> None:
    """An invalid observation raises a typed error with the server's sentence, and the next one is answered."""
    with client.stream(encoding=encoding) as stream:
        for observation, reason in (([0.0] * 3, "shape"), ([float("nan")] * 4, "non_finite"), ("left", "type")):
            with pytest.raises(dqn_client.RequestRefusedError) as caught:
                stream.act(observation)
            assert (caught.value.status, caught.value.reason) == (422, reason)
            assert stream.act(RIGHT).action == 1


def test_refused_handshakes(kind: str, server: Server, client: Any) -> None:
    """A refused handshake raises the same error as the corresponding HTTP call."""
    for options in ({"version": 99}, {"version": "canary"}, {"version": 99, "pin": True}):
        with pytest.raises(dqn_client.NotFoundError, match="cartpole"), client.stream(**options):
            pass
    with open_client(kind, server.url, model="pong") as other, pytest.raises(dqn_client.NotFoundError, match="pong"):
        other.stream().act(RIGHT)


@pytest.fixture(scope="module")
def closed(repository: ModelRepository) -> Iterator[Server]:
    """A server that requires a token for every call."""
    with running_server(repository, env={"DQN_API_TOKEN": TOKEN}, require_token=True) as running:
        running.wait_ready()
        yield running


def test_stream_sends_the_token(kind: str, closed: Server) -> None:
    """If the server requires a token, a stream sends the client's; without one, it is an AccessDeniedError."""
    with open_client(kind, closed.url, token=TOKEN) as client, client.stream() as stream:
        assert stream.act(RIGHT).action == 1
    with open_client(kind, closed.url) as client, pytest.raises(dqn_client.AccessDeniedError):
        client.stream().act(RIGHT)


def test_stream_follows_the_champion_unless_pinned(kind: str, store: ModelRepository) -> None:
    """After a promotion a stream acts with the new version and reports it once; a pinned stream keeps its version."""
    told: list[int] = []
    with running_server(store) as server, open_client(kind, server.url) as client:
        server.wait_ready()
        with client.stream(on_version=told.append) as stream, client.stream(pin=True) as pinned:
            assert (stream.act(RIGHT).version, pinned.act(RIGHT).version, pinned.pinned) == (1, 1, True)
            store.promote("cartpole", 2)
            wait_until(lambda: stream.act(RIGHT).version == 2, 20, "the new champion")
            assert (stream.version, told) == (2, [2])
            assert (pinned.act(RIGHT).version, pinned.version) == (1, 1)
