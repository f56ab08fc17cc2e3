"""Overload: accepted requests are answered soon, the others are told at once to retry later."""

import contextlib
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.server import Server, running_server
from tests.serving.connection import RIGHT, Answer, Connection, call

pytestmark = pytest.mark.slow

ROWS = b",".join([b"[0,0,0,0]"] * 4000)
BATCH = call(b'{"observations": [%b]}' % ROWS)
TENSOR = b'{"name": "observation", "datatype": "FP32", "shape": [4000, 4], "data": [%b]}' % ROWS
INFER = call(b'{"inputs": [%b]}' % TENSOR, path=b"/v2/models/cartpole/infer")
EACH = 25
ENDPOINTS = ("/act", "/v2/models/{model}/infer")


@pytest.fixture(scope="module")
def server(repository: ModelRepository) -> Iterator[Server]:
    """A server with a tiny time budget."""
    with running_server(repository, max_waiting_seconds=0.01) as running:
        running.wait_ready()
        yield running


def at_once(server: Server, requests: list[bytes]) -> list[Answer]:
    """The answers to requests that are all waiting in their connections when the server reads the first."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(contextlib.closing(Connection(server))) for _ in requests]
        for connection in connections:
            connection.send(call(RIGHT))
            assert connection.receive().status == 200
        server.process.send_signal(signal.SIGSTOP)
        try:
            for connection, request in zip(connections, requests, strict=True):
                connection.send(request)
        finally:
            server.process.send_signal(signal.SIGCONT)
        return [connection.receive() for connection in connections]


def test_what_is_too_much_is_refused_at_once(server: Server) -> None:
    """Of many large requests some are answered; the others get a 503 in the API's form and stay connected."""
    requests = [BATCH, INFER, call(RIGHT)] * EACH
    answers = at_once(server, requests)
    statuses = Counter(answer.status for answer in answers)
    assert set(statuses) == {200, 503}
    for request, answer in zip(requests, answers, strict=True):
        assert "connection" not in answer.headers
        if answer.status == 503:
            assert answer.headers["retry-after"] == "1"
            assert "DQN_MAX_WAITING_SECONDS" in answer.document["error" if request is INFER else "detail"]
    counted = [server.metric("dqn_requests_total", status="503", endpoint=endpoint) for endpoint in ENDPOINTS]
    assert sum(counted) == statuses[503]


def test_refused_clients_may_retry(server: Server) -> None:
    """A connection that got a 503 is answered when it retries."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(contextlib.closing(Connection(server))) for _ in range(3 * EACH)]
        for connection in connections:
            connection.send(BATCH)
        statuses = [connection.receive().status for connection in connections]
        assert 503 in statuses
        for connection in connections:
            connection.send(call(RIGHT))
            assert connection.receive().status == 200


def test_health_is_answered_under_overload(server: Server) -> None:
    """Health, readiness and metrics are not refused, and afterwards everything is as before."""
    health = [b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in (b"/healthz", b"/readyz", b"/v2/health/ready")]
    answers = at_once(server, [*[BATCH] * EACH, *health, *[INFER] * EACH])
    assert [answer.status for answer in answers[EACH : EACH + 3]] == [200] * 3
    assert 503 in {answer.status for answer in answers}
    assert server.get("/metrics").status_code == 200
    assert server.post("/act", RIGHT).status_code == 200


def test_few_versions_wait_to_be_loaded(repository: ModelRepository) -> None:
    """Any number of requests wait for one load; if too many other versions are requested, those must retry later."""
    versions = [2] * 5 + [3] * 5
    bodies = [RIGHT.replace(b"}", b', "version": %d}' % version) for version in versions]
    with running_server(repository, max_loaded_versions=1) as server:
        server.wait_ready()
        answers = at_once(server, [call(body) for body in bodies])
        by_version = [{answer.status for answer in answers[:5]}, {answer.status for answer in answers[5:]}]
        assert by_version in ([{200}, {503}], [{503}, {200}])
        assert {server.post("/act", bodies[0]).status_code, server.post("/act", bodies[-1]).status_code} == {200}
