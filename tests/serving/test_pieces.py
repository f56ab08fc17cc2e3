"""A request in pieces is answered like one that arrives at once, wherever it is cut and however slow it is."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from dqn_testing.server import Server
from tests.serving.connection import LEFT, RIGHT, Connection, call

BATCH = json.dumps({"observations": [json.loads(body)["observation"] for body in (RIGHT, LEFT) * 30]}).encode()


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[[], Connection]]:
    """Opens connections, and closes them."""
    opened: list[Connection] = []

    def connect() -> Connection:
        opened.append(Connection(server))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.mark.parametrize("pieces", [2, 3, 7])
@pytest.mark.parametrize("pause", [0, 0.002, 0.15])
def test_cut_anywhere(connect: Callable[[], Connection], pieces: int, pause: float) -> None:
    """However a request is cut and however slowly its pieces come, the answer is the same, on an open connection."""
    connection = connect()
    whole = call(BATCH)
    size = len(whole) // pieces + 1
    for start in range(0, len(whole), size):
        connection.send(whole[start : start + size])
        time.sleep(pause)
    assert connection.receive().document["actions"] == [1, 0] * 30
    connection.send(call(LEFT))
    assert connection.receive().document["action"] == 0


def test_next_request_arrives_with_the_last_piece(connect: Callable[[], Connection]) -> None:
    """What follows a body in the same piece is the next request, and is answered after it."""
    connection = connect()
    whole = call(BATCH)
    connection.send(whole[:-100])
    connection.send(whole[-100:] + call(LEFT) + call(RIGHT))
    assert connection.receive().document["actions"] == [1, 0] * 30
    assert [connection.receive().document["action"] for _ in range(2)] == [0, 1]


def test_faults_in_pieces(connect: Callable[[], Connection]) -> None:
    """A body that is refused is also refused in pieces, once."""
    connection = connect()
    whole = call(b'{"observation": [1, 2, 3]}' + b" " * 60)
    connection.send(whole[:-70])
    connection.send(whole[-70:])
    answer = connection.receive()
    assert (answer.status, answer.document["reason"]) == (422, "shape")
    connection.send(call(RIGHT))
    assert connection.receive().document["action"] == 1


def test_client_that_leaves_in_the_middle(server: Server, connect: Callable[[], Connection]) -> None:
    """A client that leaves in the middle of a request affects no other."""
    for _ in range(20):
        connection = connect()
        connection.send(call(BATCH)[:-10])
        connection.close()
    assert server.post("/act", RIGHT).json()["action"] == 1


def test_client_that_stops_sending(connect: Callable[[], Connection]) -> None:
    """Half a request after which the client closes its side is not answered with an action."""
    connection = connect()
    connection.send(call(BATCH)[:-10])
    connection.socket.shutdown(1)
    assert connection.is_closed()
