"""A failed call raises one of the typed errors, with the server's own sentence as its message."""

import math
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import dqn_client
from dqn_client import PolicyClient, PolicyClientError, RetryPolicy
from dqn_testing.commands import free_port
from dqn_testing.fixtures import TOKEN
from dqn_testing.server import Server, running_server
from tests.client.clients import QUICK, Answering, open_client, response

OBSERVATION = [0.0, 0.0, 0.0, 0.0]


def test_refusals_have_the_fields_of_the_problem(client: Any) -> None:
    """A 422 carries status, title, detail and reason."""
    with pytest.raises(dqn_client.RequestRefusedError) as caught:
        client.act([0.0, 0.0, 0.0])
    refused = caught.value
    assert (refused.status, refused.title, refused.reason) == (422, "Unprocessable Content", "shape")
    assert str(refused) == refused.detail == "observation has shape [3]; cartpole version 1 expects [4]."


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_numbers_are_named(client: Any, value: float) -> None:
    """NaN and infinities, which JSON cannot express, are sent and named in the refusal."""
    for observation in ([value, 0.0, 0.0, 0.0], np.array([value, 0, 0, 0], np.float32)):
        with pytest.raises(dqn_client.RequestRefusedError) as caught:
            client.act(observation)
        assert caught.value.reason == "non_finite"


@pytest.mark.parametrize("method", ["act", "act_batch", "q_values", "q_values_batch"])
def test_an_unknown_option_is_a_type_error_of_the_method(client: Any, method: str) -> None:
    """It names the method that was called, and for `model` the constructor that takes it."""
    observation = [OBSERVATION] if method.endswith("batch") else OBSERVATION
    with pytest.raises(TypeError) as caught:
        getattr(client, method)(observation, model="x")
    assert str(caught.value) == (
        f"{method}() got an unexpected keyword argument 'model'; the client's constructor takes it"
    )
    with pytest.raises(TypeError, match=rf"{method}\(\) got an unexpected keyword argument 'epsilo'$"):
        getattr(client, method)(observation, epsilo=1)


def test_what_cannot_be_sent_is_a_type_error(client: Any) -> None:
    """An observation that is not data is refused before it is sent."""
    with pytest.raises(TypeError, match="Cannot send a generator"):
        client.act(value for value in OBSERVATION)


def test_unknown_things_are_not_found(kind: str, client: Any, server: Server) -> None:
    """Unknown models, versions and aliases raise NotFoundError, including names that look like paths."""
    for method, arguments in (("act", (OBSERVATION,)), ("manifest", ()), ("promote", ())):
        with pytest.raises(dqn_client.NotFoundError):
            getattr(client, method)(*arguments, version=99)
    for name in ("pong", "..", ".", "../cartpole", "a b", "mod\u00e8le", "mod\udcc3\udca8le", "x?y#z"):
        with open_client(kind, server.url, model=name) as other, pytest.raises(dqn_client.NotFoundError) as caught:
            other.act(OBSERVATION)
        assert caught.value.status == 404
        with pytest.raises(dqn_client.RequestRefusedError):
            client.act(OBSERVATION, version=name)
        with pytest.raises(dqn_client.RequestRefusedError):
            client.stream(version=name).act(OBSERVATION)


@pytest.fixture(scope="module")
def vacant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without a model and without a token."""
    with running_server(tmp_path_factory.mktemp("vacant")) as running:
        assert running.url
        yield running


def test_tokens(kind: str, server: Server, vacant: Server) -> None:
    """A missing or wrong token gets 401, and 403 if admin calls are off; neither is retried."""
    for url, token, status in ((server.url, None, 401), (server.url, "wrong", 401), (vacant.url, TOKEN, 403)):
        with open_client(kind, url, model="cartpole", token=token) as client:
            with pytest.raises(dqn_client.AccessDeniedError) as caught:
                client.refresh()
            assert caught.value.status == status


def test_too_large(client: Any) -> None:
    """A batch beyond the limit is refused with 413."""
    with pytest.raises(dqn_client.RequestRefusedError) as caught:
        client.act_batch(np.zeros((65, 4)))
    assert caught.value.status == 413


def test_not_ready(kind: str, vacant: Server) -> None:
    """Without a champion `act` fails with the reason once there are no retries left, and `ready` returns the reason."""
    with open_client(kind, vacant.url, retries=RetryPolicy(0)) as client:
        with pytest.raises(dqn_client.NotReadyError) as caught:
            client.act(OBSERVATION)
        assert (caught.value.status, caught.value.retry_after) == (503, 1.0)
        readiness = client.ready()
        assert not readiness
        assert readiness.detail
        with pytest.raises(dqn_client.NotFoundError, match="no default model"):
            client.manifest()


def test_nobody_listens(kind: str) -> None:
    """If nobody listens, the error names the address, and is also a ConnectionError of Python."""
    url = f"http://127.0.0.1:{free_port()}"
    with open_client(kind, url, retries=QUICK) as client:
        with pytest.raises(dqn_client.ConnectionLostError, match=url) as caught:
            client.act(OBSERVATION)
        assert isinstance(caught.value, ConnectionError)
        with pytest.raises(dqn_client.ConnectionLostError):
            client.ready()


def test_timeout(kind: str) -> None:
    """If the server does not answer in time, it is a TimedOutError, which is also Python's TimeoutError."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with open_client(kind, url, timeout=0.05) as client, pytest.raises(dqn_client.TimedOutError) as caught:
            client.act(OBSERVATION)
    assert isinstance(caught.value, TimeoutError)
    assert "0.05 s" in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "error", "part"),
    [
        (response("200 OK", b"<html>Welcome</html>"), dqn_client.UnexpectedResponseError, "Welcome"),
        (response("200 OK", b'{"action": "left"}'), dqn_client.UnexpectedResponseError, "is the URL right"),
        (response("302 Found", b"", "Location: /login"), dqn_client.UnexpectedResponseError, "302"),
        (response("500 Internal Server Error", b""), dqn_client.UnexpectedResponseError, "500"),
        (response("404 Not Found", b"nginx"), dqn_client.NotFoundError, "nginx"),
        (response("429 Too Many Requests", b"slow down"), dqn_client.RequestRefusedError, "slow down"),
        (b"SSH-2.0-OpenSSH\r\n", dqn_client.ConnectionLostError, "Lost the connection"),
    ],
)
def test_other_servers(kind: str, answer: bytes, error: type[PolicyClientError], part: str) -> None:
    """A server that is not dqn-serve leads to an error that shows its response."""
    with Answering(answer) as other, open_client(kind, other.url, retries=QUICK) as client:
        with pytest.raises(error, match=part):
            client.act(OBSERVATION)
        assert len(other.requests) == (QUICK.max_retries + 1 if error is dqn_client.ConnectionLostError else 1)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"base_url": "localhost:8000"}, "base_url is 'localhost:8000'"),
        ({"base_url": "ws://localhost"}, "http://"),
        ({"base_url": "http://"}, "base_url"),
        ({"base_url": "http://localhost:http"}, "base_url"),
        ({"base_url": "http://user:password@localhost"}, "base_url"),
        ({"headers": {"X-Request-ID": "a\r\nb"}}, "X-Request-ID"),
        ({"headers": {"X Request": "a"}}, "headers has the name 'X Request'"),
        ({"headers": {"Mod\u00e8le": "a"}}, "headers has the name"),
        ({"base_url": "http://localhost/mod\udcc3\udca8le"}, "base_url"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": math.nan}, "timeout is nan"),
        ({"token": "two\nlines"}, "token must consist of printable ASCII"),
        ({"token": ""}, "token must consist of printable ASCII"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], part: str) -> None:
    """Invalid arguments are refused when the client is created."""
    with pytest.raises(ValueError, match=part):
        PolicyClient(**({"base_url": "http://localhost"} | arguments))
