"""Calls survive restarts of the server, and are retried only as often as allowed."""

import contextlib
import itertools
import logging
from typing import Any

import pytest

from dqn_client import ConnectionLostError, NotReadyError, RetryPolicy
from dqn_client.retries import Attempts
from dqn_models.repository import ModelRepository
from dqn_testing.commands import free_port
from dqn_testing.repositories import publish_linear
from dqn_testing.server import running_server, wait_until
from tests.client.clients import PATIENT, QUICK, Answering, InBackground, open_client, response

OBSERVATION = [0.0, 0.0, 0.1, 0.0]
ACTION = response("200 OK", b'{"action": 1, "model": "cartpole", "version": 1}')


@pytest.mark.slow
def test_clients_survive_a_killed_server(kind: str, empty: ModelRepository) -> None:
    """While the server is killed with SIGKILL and started again, every call and every `act` of a stream returns.

    A pinned stream keeps its version; the others follow the champion of the new server.
    """
    publish_linear(empty, promote=True)
    publish_linear(empty, bias=1.0)
    port, told = free_port(), list[int]()
    with open_client(kind, f"http://127.0.0.1:{port}", retries=PATIENT) as client, contextlib.ExitStack() as stack:
        first = stack.enter_context(running_server(empty, port=port))
        stream = stack.enter_context(client.stream(on_version=told.append))
        pinned = stack.enter_context(client.stream(pin=True))
        with InBackground(
            lambda: tuple(actor.act(OBSERVATION).version for actor in (client, stream, pinned))
        ) as acting:
            acting.wait_for(20)
            first.process.kill()
            first.process.wait()
            empty.promote("cartpole", 2)
            stack.enter_context(running_server(empty, port=port))
            acting.wait_for(20)
        assert (acting.results[0], acting.results[-1]) == ((1, 1, 1), (2, 2, 1))
        assert (told, stream.version, pinned.version) == ([2], 2, 1)


@pytest.mark.slow
def test_clients_wait_for_a_champion(kind: str, empty: ModelRepository) -> None:
    """A call, and the opening of a stream, wait as Retry-After says and succeed once a version is promoted."""
    with running_server(empty) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(open_client(kind, server.url, retries=PATIENT)) for _ in range(2)]
        with (
            InBackground(lambda: clients[0].act(OBSERVATION).version) as acting,
            InBackground(lambda: _act_over_a_new_stream(clients[1]).version) as opening,
        ):
            wait_until(lambda: server.metric("dqn_requests_total", status="503") > 1, 20, "refused")
            publish_linear(empty, promote=True)
            acting.wait_for(1)
            opening.wait_for(1)
        assert (acting.results[0], opening.results[0]) == (1, 1)


def _act_over_a_new_stream(client: Any) -> Any:
    with client.stream() as stream:
        return stream.act(OBSERVATION)


@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"])
def test_errors_of_a_proxy_are_retried(kind: str, status: str, caplog: pytest.LogCaptureFixture) -> None:
    """502, 503 and 504 are retried, and each retry is logged with its reason."""
    caplog.set_level(logging.INFO, "dqn_client")
    answers = [response(status, b""), response(status, b"later"), ACTION]
    with Answering(*answers) as proxy, open_client(kind, proxy.url, retries=QUICK) as client:
        assert client.act(OBSERVATION).action == 1
        assert len(proxy.requests) == 3
    assert [status in record.getMessage() for record in caplog.records] == [True, True]


def test_lost_connections_are_opened_again(kind: str) -> None:
    """A call whose connection ends before the answer is sent again; `promote`, which may have arrived, is not."""
    with Answering(b"", ACTION) as flaky, open_client(kind, flaky.url, retries=QUICK) as client:
        assert client.act(OBSERVATION).action == 1
        assert len(flaky.requests) == 2
    with Answering(b"") as deaf, open_client(kind, deaf.url, model="cartpole", retries=QUICK) as client:
        with pytest.raises(ConnectionLostError):
            client.promote(2)
        assert deaf.requests == ["PUT /models/cartpole/aliases/champion"]


def test_max_retries(kind: str) -> None:
    """After `max_retries` retries the last error is raised."""
    with (
        Answering(response("503 Service Unavailable", b"no")) as busy,
        open_client(kind, busy.url, retries=QUICK) as client,
    ):
        with pytest.raises(NotReadyError):
            client.act(OBSERVATION)
        assert len(busy.requests) == 1 + QUICK.max_retries


def test_time_is_bounded(kind: str) -> None:
    """A server whose Retry-After exceeds the deadline gets no second request."""
    answer = response("503 Service Unavailable", b"no", "Retry-After: 3600")
    with Answering(answer) as busy, open_client(kind, busy.url) as client:
        with pytest.raises(NotReadyError) as caught:
            client.act(OBSERVATION)
        assert caught.value.retry_after == 3600
        assert len(busy.requests) == 1


def test_backoff() -> None:
    """The backoff doubles up to its maximum, is shortened by at most half, and is added to Retry-After."""
    attempts = Attempts(RetryPolicy(max_retries=100, deadline=1000, initial_backoff=0.1, max_backoff=1.0))
    pauses = [attempts.backoff_after(ConnectionLostError("refused", was_open=False)) for _ in range(50)]
    for pause, longest in zip(pauses, itertools.chain([0.1, 0.2, 0.4, 0.8], itertools.repeat(1.0)), strict=False):
        assert longest / 2 <= pause <= longest
    assert len(set(pauses)) == len(pauses)
    asked = attempts.backoff_after(NotReadyError(503, "Service Unavailable", "later", retry_after=7))
    assert 7.5 <= asked <= 8.0


def test_lost_connection_is_tried_at_once() -> None:
    """The first retry after losing an open connection follows without a pause."""
    attempts = Attempts(RetryPolicy(max_retries=2))
    assert attempts.backoff_after(ConnectionLostError("lost", was_open=True)) == 0
    assert attempts.backoff_after(ConnectionLostError("lost", was_open=True)) > 0


@pytest.mark.parametrize("wrong", [{"max_retries": -1}, {"deadline": float("nan")}, {"initial_backoff": -0.1}])
def test_wrong_retries(wrong: dict[str, Any]) -> None:
    """A number below 0 is refused, with the name of the argument."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryPolicy(**wrong)
