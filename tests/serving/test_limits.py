"""Clients that send too much, too slowly or nothing get an error, are disconnected, and delay nobody."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dqn_models.repository import ModelRepository
from dqn_serving.problems import MEDIA_TYPE
from dqn_testing.server import Server, running_server, wait_until
from tests.serving.connection import RIGHT, Connection, call

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
MOST_CONNECTIONS = 40


@pytest.fixture(scope="module")
def server(repository: ModelRepository) -> Iterator[Server]:
    """A server with short time limits."""
    limits: dict[str, Any] = {"request_seconds": 1, "keep_alive_seconds": 1, "max_connections": MOST_CONNECTIONS}
    with running_server(repository, max_body_bytes=MIB, **limits) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[[], Connection]]:
    """Opens connections and closes them at the end."""
    with contextlib.ExitStack() as opened:
        yield lambda: opened.enter_context(contextlib.closing(Connection(server)))


def descriptors(server: Server) -> int:
    """How many files and connections the server has open."""
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def resident_bytes(server: Server) -> int:
    """The server's resident memory."""
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096


def send_slowly(connection: Connection, data: bytes) -> None:
    """Sends a byte at a time, until the server hangs up."""
    with contextlib.suppress(OSError):
        for index in range(len(data)):
            connection.send(data[index : index + 1])
            time.sleep(0.05)


@pytest.mark.parametrize(("path", "form"), [(b"/act", "detail"), (b"/v2/models/cartpole/infer", "error")])
@pytest.mark.parametrize("cut", [30, 70])
def test_slow_requests_are_refused(
    server: Server, connect: Callable[[], Connection], path: bytes, form: str, cut: int
) -> None:
    """A head or body that does not end gets a 408 in the API's form as the last answer; others are not delayed."""
    connection = connect()
    connection.send(call(b" " * 60, b"Accept: */*", path=path)[: len(path) + cut])
    assert server.post("/act", RIGHT).status_code == 200
    send_slowly(connection, b"x" * 15)
    answer = connection.receive()
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert "DQN_REQUEST_SECONDS" in answer.document[form]
    assert connection.is_closed()


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
def test_silent_connections_are_closed(connect: Callable[[], Connection], sent: bytes) -> None:
    """A connection on which no request ever begins is closed without a response."""
    connection = connect()
    connection.send(sent)
    assert connection.is_closed()


def test_request_that_was_answered_early_must_end_too(connect: Callable[[], Connection]) -> None:
    """A body that was not needed for the answer has the same time limit."""
    connection = connect()
    connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
    assert connection.receive().status == 200
    assert connection.is_closed()
    connection = connect()
    connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nx")
    assert connection.receive().status == 200
    connection.send(b"x" + call(RIGHT))
    assert connection.receive().document["action"] == 1


ENDLESS = {
    "declared": (b"POST /act HTTP/1.1\r\nContent-Length: 10000000000\r\n\r\n", 413),
    "chunked": (b"POST /act HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2540be400\r\n", 413),
    "infer": (b"POST /v2/models/cartpole/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2540be400\r\n", 413),
    "unknown path": (b"POST /nothing HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2540be400\r\n", 404),
    "unwanted": (b"GET /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2540be400\r\n", 200),
    "unknown path of v2": (b"POST /v2/nothing HTTP/1.1\r\nContent-Length: 10000000000\r\n\r\n", 404),
    "url": (b"GET /", 414),
    "field": (b"GET /healthz HTTP/1.1\r\nX-Long: ", 431),
    "trailer": (b"POST /act HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Long: ", 431),
    "chunk extension": (b"POST /act HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", 431),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_requests_cost_no_memory(server: Server, connect: Callable[[], Connection], name: str) -> None:
    """Whichever part of a request never ends, it is answered early, and memory does not grow."""
    begin, status = ENDLESS[name]
    server.post("/act", RIGHT)
    before = resident_bytes(server)
    connection = connect()
    connection.send(begin)
    connection.socket.settimeout(0.3)
    sent = 0
    with contextlib.suppress(OSError):
        while sent < 400 * MIB:
            sent += connection.socket.send(b"x" * MIB)
    connection.socket.settimeout(20)
    with contextlib.suppress(ConnectionResetError):  # the server waited for a while, then hung up
        assert connection.receive().status == status
        assert connection.is_closed()
    assert resident_bytes(server) - before < 16 * MIB


def test_answer_arrives_at_a_client_that_sends_first(connect: Callable[[], Connection]) -> None:
    """A client that sends an entire oversized body before it reads still gets the 413."""
    connection = connect()
    connection.send(call(b"x" * 3 * MIB))
    answer = connection.receive()
    assert (answer.status, answer.headers["connection"]) == (413, "close")


def test_heads_have_a_limit_of_fields(connect: Callable[[], Connection]) -> None:
    """A request with 128 header fields is read, one with more is refused."""
    for count, status in [(126, 200), (127, 431)]:
        connection = connect()
        connection.send(call(RIGHT, *[b"X-%d: 1" % number for number in range(count)]))
        assert connection.receive().status == status


def test_slow_readers_are_dropped(server: Server, connect: Callable[[], Connection]) -> None:
    """A client that requests a lot and reads nothing is disconnected, and its memory is freed."""
    before = resident_bytes(server)
    connection = connect()
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    rows = b'{"observations": [%b]}' % b",".join([b"[0,0,0,0]"] * 4000)
    connection.socket.settimeout(1)
    with contextlib.suppress(OSError):
        for _ in range(500):
            connection.send(call(rows, path=b"/q-values"))
    open_now = descriptors(server)
    wait_until(lambda: descriptors(server) < open_now, 20, "dropped")
    assert resident_bytes(server) - before < 32 * MIB
    assert server.post("/act", RIGHT).status_code == 200


def test_connections_have_a_limit(server: Server, connect: Callable[[], Connection]) -> None:
    """One connection too many gets 503 and is closed; the others stay open, and freed places are reused."""
    wait_until(lambda: server.get("/healthz").status_code == 200, 20, "free")
    connections = [connect() for _ in range(MOST_CONNECTIONS)]
    for connection in connections:
        connection.send(call(RIGHT))
        assert connection.receive().status == 200
    refused = connect().receive()
    assert (refused.status, refused.headers["connection"], refused.headers["retry-after"]) == (503, "close", "1")
    assert refused.headers["content-type"] == MEDIA_TYPE
    connections[0].send(call(RIGHT))
    assert connections[0].receive().status == 200
    for connection in connections:
        connection.close()
    wait_until(lambda: server.get("/healthz").status_code == 200, 20, "free")
    assert server.metric("dqn_requests_total", endpoint="other", status="503") >= 1


def test_refusals_are_counted_but_not_logged(server: Server) -> None:
    """The metrics count protocol errors under one endpoint; the log has none of them, or it could fill the disk."""
    for status in ("408", "414", "431"):
        assert server.metric("dqn_requests_total", endpoint="other", status=status) >= 1
    assert [record for record in server.records if record["event"] not in {"refreshed", "serving"}] == []


def test_too_few_descriptors_are_reported(repository: ModelRepository) -> None:
    """If the system allows fewer connections than configured, the log says so and the limit is lowered."""
    with running_server(repository, max_connections=1_000_000) as server:
        told = server.wait_log("few file descriptors")
        assert told["max_connections"] < 1_000_000
        server.wait_ready()
