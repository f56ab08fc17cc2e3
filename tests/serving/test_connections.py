"""What one TCP connection may do: pieces, pipelines, endings; the answers are the same on both paths."""

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dqn_models.repository import ModelRepository
from dqn_serving.problems import MEDIA_TYPE
from dqn_testing.fixtures import TOKEN
from dqn_testing.server import Server, running_server
from tests.serving.connection import LEFT, RIGHT, Connection, call

LIST = b"GET /models HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[[], Connection]]:
    """Opens connections and closes them at the end."""
    opened: list[Connection] = []

    def connect() -> Connection:
        opened.append(Connection(server))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def test_answers_of_both_paths_are_the_same(connect: Callable[[], Connection]) -> None:
    """A request in one piece, and the same with its head in two, get the same status, headers and document."""
    connection = connect()
    connection.send(call(RIGHT))
    whole = connection.receive()
    request = call(RIGHT)
    connection.send(request[:20])
    time.sleep(0.05)  # so that the pieces arrive separately; if they were joined, the test would merely prove less
    connection.send(request[20:])
    pieces = connection.receive()
    ours = {"x-content-type-options", "referrer-policy", "cache-control", "keep-alive"}
    assert set(whole.headers) == {"date", "content-type", "content-length", *ours}
    assert whole._replace(headers=whole.headers | {"date": ""}) == pieces._replace(
        headers=pieces.headers | {"date": ""}
    )


@pytest.mark.parametrize("cut", [1, 10, 30, 47, 48, 60])
def test_any_cut_is_fine(connect: Callable[[], Connection], cut: int) -> None:
    """Requests cut anywhere, and whole ones between them, are answered in their order."""
    connection = connect()
    for _ in range(3):
        connection.send(call(LEFT))
        assert connection.receive().document["action"] == 0
        connection.send(call(RIGHT)[:cut])
        time.sleep(0.02)
        connection.send(call(RIGHT)[cut:])
        assert connection.receive().document["action"] == 1


def test_pipelined_requests_are_answered_in_order(connect: Callable[[], Connection]) -> None:
    """Many requests of all kinds sent without waiting, in pieces that begin and end anywhere, are answered in order."""
    connection = connect()
    sorts = [
        (call(RIGHT), 200),
        (call(b"{"), 400),
        (call(LEFT), 200),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ]
    requests = [sorts[index * 7 % 4] for index in range(60)]
    stream = b"".join(request for request, _ in requests)
    for start in range(0, len(stream), 333):
        connection.send(stream[start : start + 333])
    assert [connection.receive().status for _ in requests] == [status for _, status in requests]
    connection.send(call(RIGHT))
    assert connection.receive().document["action"] == 1


@pytest.mark.parametrize("requests", [[call(RIGHT)], [LIST], [LIST, call(RIGHT), LIST]])
def test_half_closed_client_gets_its_answer(connect: Callable[[], Connection], requests: list[bytes]) -> None:
    """A client that has closed its sending side is still answered, then the connection ends."""
    connection = connect()
    connection.send(*requests)
    connection.socket.shutdown(socket.SHUT_WR)
    assert [connection.receive().status for _ in requests] == [200] * len(requests)
    assert connection.is_closed()


@pytest.mark.parametrize("options", [{"headers": [b"Connection: close"]}, {"http": b"1.0"}])
def test_connection_ends_when_asked_to(connect: Callable[[], Connection], options: dict[str, Any]) -> None:
    """`Connection: close` and HTTP/1.0 end the connection after the answer, which says so."""
    connection = connect()
    connection.send(call(LEFT))
    connection.receive()
    connection.send(call(RIGHT, *options.get("headers", []), http=options.get("http", b"1.1")))
    answer = connection.receive()
    assert (answer.document["action"], answer.headers["connection"]) == (1, "close")
    assert connection.is_closed()


def test_chunked_and_expecting_requests_are_answered(connect: Callable[[], Connection]) -> None:
    """Chunked bodies, and clients that wait for `100 Continue`, are served as usual."""
    connection = connect()
    chunked = b"POST /act HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    connection.send(chunked % (len(RIGHT), RIGHT))
    assert connection.receive().document["action"] == 1
    connection.send(call(b"", b"Expect: 100-continue").replace(b"Length: 0", b"Length: %d" % len(RIGHT)))
    assert connection._stream.readline() == b"HTTP/1.1 100 Continue\r\n"
    assert connection._stream.readline() == b"\r\n"
    connection.send(RIGHT)
    assert connection.receive().document["action"] == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /act HTTP/1.1\r\nHost: x\r\nContent-Length: 37\r\nContent-Length: 37\r\n\r\n" + RIGHT,
        b"POST /act HTTP/1.1\r\nHost: x\r\nContent-Length: 37\r\nTransfer-Encoding: chunked\r\n\r\n" + RIGHT,
        b"POST /act HTTP/1.1\r\nHost: x\r\nContent-Length: +37\r\n\r\n" + RIGHT,
        b"POST /act HTTP/1.1\r\nHost: x\r\nContent-Length: 37, 37\r\n\r\n" + RIGHT,
        b"POST /act HTTP/1.1\r\nHost: x\r\nContent-Length : 37\r\n\r\n" + RIGHT,
        b"POST /act HTTP/1.1\r\nHost: x\r\n Content-Length: 37\r\n\r\n" + RIGHT,
        b"POST /act HTTP/1.1\nHost: x\nContent-Length: 4\n\n{}\r\n\r\n" + RIGHT,
    ],
)
def test_ambiguous_heads_are_refused(connect: Callable[[], Connection], request_bytes: bytes) -> None:
    """A head that two servers could read differently gets a 400, and the connection ends."""
    connection = connect()
    connection.send(call(LEFT))
    connection.receive()
    connection.send(request_bytes)
    answer = connection.receive()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.document["detail"].startswith("This is not HTTP/1.1: ")
    assert connection.is_closed()


def test_protocol_error_is_answered_after_earlier_requests(connect: Callable[[], Connection]) -> None:
    """Requests before something that is not HTTP are answered in order; under /v2 the error has that API's form."""
    connection = connect()
    connection.send(LIST, call(RIGHT), LIST, b"POST /v2/models/cartpole/infer HTTP/1.1\r\nBad Name: 1\r\n\r\n", LIST)
    answers = [connection.receive() for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 400]
    assert answers[3].document["error"].startswith("This is not HTTP/1.1: ")
    assert connection.is_closed()


def test_clients_that_leave_disturb_nobody(server: Server, connect: Callable[[], Connection]) -> None:
    """Connections that end before their answers leave no trace but their count."""
    before = server.metric("dqn_requests_total", endpoint="/act", status="200")
    for _ in range(20):
        connection = connect()
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.send(call(RIGHT))
        connection.close()
    assert server.post("/act", RIGHT).json()["action"] == 1
    assert server.metric("dqn_requests_total", endpoint="/act", status="200") > before
    assert server.records[-1]["event"] in {"refreshed", "serving", "no champion"}


def test_idle_connection_is_closed_and_a_busy_one_is_not(repository: ModelRepository) -> None:
    """keep_alive_seconds is measured from the last call, not from the first."""
    with running_server(repository, keep_alive_seconds=1) as server:
        server.wait_ready()
        connection = Connection(server)
        begun = time.monotonic()
        while time.monotonic() < begun + 1.5:
            connection.send(call(RIGHT))
            assert connection.receive().status == 200
            time.sleep(0.1)
        assert connection.is_closed()
        connection.close()


def test_required_token_is_required_of_every_call(repository: ModelRepository) -> None:
    """A call with the token does not authorize a call without it on the same connection."""
    with running_server(repository, env={"DQN_API_TOKEN": TOKEN}, require_token=True) as server:
        wanted = [(b"Authorization: Bearer " + TOKEN.encode(), 200), (b"Accept: */*", 401), (b"Authorization: x", 401)]
        connection = Connection(server)
        for header, status in [*wanted, *wanted]:
            connection.send(call(RIGHT, header))
            assert connection.receive().status == status
        connection.close()
