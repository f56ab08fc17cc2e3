"""A stream whose peer does what dqn-serve rarely or never does: drains, answers late, ends, sends something else."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, Self

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

import dqn_client
from tests.client.clients import QUICK, Answering, open_client, response

HELLO = {
    "type": "hello",
    "model": "cartpole",
    "version": 3,
    "observation_space": {"type": "Discrete", "n": 2, "start": 0},
    "action_space": {"type": "Discrete", "n": 2, "start": 0},
}


class Peer:
    """A WebSocket server that sends a hello, then leaves each connection to a script; when that ends, it closes."""

    def __init__(self, script: Callable[["Peer", ServerConnection], None]) -> None:
        """In the script, `len(peer.paths)` is the number of connections so far."""
        self.paths: list[str] = []
        self.refused = 0
        self.is_refusing = False
        self._script = script
        self._server: Server = serve(
            self._serve,
            "127.0.0.1",
            0,
            subprotocols=[Subprotocol("dqn.msgpack")],
            compression=None,
            process_request=self._admit,
        )
        self.url = f"http://127.0.0.1:{self._server.socket.getsockname()[1]}"

    def _admit(self, connection: ServerConnection, _request: Request) -> Response | None:
        self.refused += self.is_refusing
        return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "draining") if self.is_refusing else None

    def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.paths.append(connection.request.path)
        with contextlib.suppress(ConnectionClosed):
            send(connection, **HELLO, pinned="pin=true" in connection.request.path)
            self._script(self, connection)

    def __enter__(self) -> Self:
        """Starts the server."""
        threading.Thread(target=self._server.serve_forever).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops the server."""
        self._server.shutdown()


def send(connection: ServerConnection, **frame: Any) -> None:
    """Sends a frame."""
    connection.send(msgspec.msgpack.encode(frame))


def receive_observation(connection: ServerConnection) -> dict[str, Any]:
    """Waits for an observation."""
    question: dict[str, Any] = msgspec.msgpack.decode(connection.recv(decode=False))
    return question


def answer(connection: ServerConnection, question: dict[str, Any]) -> None:
    """Answers with the observation as the action."""
    send(connection, type="action", action=question["observation"], version=3, id=question["id"])


def answer_all(_peer: Peer, connection: ServerConnection) -> None:
    """A script that answers until the peer disconnects."""
    while True:
        answer(connection, receive_observation(connection))


def test_draining_makes_it_reconnect(kind: str) -> None:
    """After `draining`, the pending request is still answered; the next one goes to a new connection."""

    def script(peer: Peer, connection: ServerConnection) -> None:
        if len(peer.paths) == 1:
            send(connection, type="draining")
        answer_all(peer, connection)

    with Peer(script) as peer, open_client(kind, peer.url, retries=QUICK) as client, client.stream() as stream:
        assert [stream.act(number).action for number in range(3)] == [0, 1, 2]
        assert len(peer.paths) == 2


def test_draining_connection_serves_to_its_end(kind: str) -> None:
    """If there is no other server to connect to, the old connection is used until it ends, without a pause."""

    def script(peer: Peer, connection: ServerConnection) -> None:
        peer.is_refusing = len(peer.paths) == 1
        if peer.is_refusing:
            send(connection, type="draining")
            for _ in range(3):
                answer(connection, receive_observation(connection))
            peer.is_refusing = False
        else:
            answer_all(peer, connection)

    with Peer(script) as peer, open_client(kind, peer.url, retries=QUICK) as client, client.stream() as stream:
        assert [stream.act(number).action for number in range(5)] == [0, 1, 2, 3, 4]
        assert (len(peer.paths), peer.refused) == (2, 1)


@pytest.mark.parametrize("pin", [False, True])
def test_lost_request_is_sent_again(kind: str, pin: bool) -> None:  # noqa: FBT001  (a parameter of the test)
    """If the connection ends after a request, it is sent again; a pinned stream sends it to the same version."""

    def script(peer: Peer, connection: ServerConnection) -> None:
        if len(peer.paths) == 1:
            receive_observation(connection)
        else:
            answer_all(peer, connection)

    with Peer(script) as peer, open_client(kind, peer.url, retries=QUICK) as client, client.stream(pin=pin) as stream:
        assert stream.act(7).action == 7
        assert peer.paths == (
            ["/act/stream?pin=true", "/act/stream?version=3&pin=true"] if pin else ["/act/stream"] * 2
        )


def test_late_answers_are_ignored(kind: str) -> None:
    """After a timeout the stream stays open, and the late answer is not taken for the next one."""

    def script(peer: Peer, connection: ServerConnection) -> None:
        late = receive_observation(connection)
        next_one = receive_observation(connection)
        answer(connection, late)
        send(connection, type="error", status=422, title="Late", detail="too", id=late["id"])
        answer(connection, next_one)
        answer_all(peer, connection)

    with Peer(script) as peer, open_client(kind, peer.url, timeout=1) as client, client.stream() as stream:
        with pytest.raises(dqn_client.TimedOutError):
            stream.act(1)
        assert [stream.act(number).action for number in (2, 3)] == [2, 3]
        assert len(peer.paths) == 1


def test_cancelled_request_leaves_the_stream_open() -> None:
    """A task that is cancelled while it waits for an action does not disturb the next request."""
    asked = threading.Event()

    def script(peer: Peer, connection: ServerConnection) -> None:
        late = receive_observation(connection)
        asked.set()
        next_one = receive_observation(connection)
        answer(connection, late)
        answer(connection, next_one)
        answer_all(peer, connection)

    async def play(url: str) -> None:
        async with dqn_client.AsyncPolicyClient(url) as client, client.stream() as stream:
            task = asyncio.create_task(stream.act(1))
            assert await asyncio.to_thread(asked.wait, 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await stream.act(2)).action == 2

    with Peer(script) as peer:
        asyncio.run(play(peer.url))
        assert len(peer.paths) == 1


def test_threads_and_tasks_may_share_a_stream() -> None:
    """Simultaneous callers each get the answer to their own request."""
    numbers = list(range(50))

    async def play(url: str) -> list[int]:
        async with dqn_client.AsyncPolicyClient(url) as client, client.stream() as stream:
            return [action.action for action in await asyncio.gather(*map(stream.act, numbers))]

    with Peer(answer_all) as peer:
        with dqn_client.PolicyClient(peer.url) as client, client.stream() as stream, ThreadPoolExecutor(4) as pool:
            assert [action.action for action in pool.map(stream.act, numbers)] == numbers
        assert asyncio.run(play(peer.url)) == numbers


def test_what_is_too_large_is_not_sent_again(kind: str) -> None:
    """A stream that is closed because of a frame's size raises a refusal; the next observation opens it again."""

    def script(peer: Peer, connection: ServerConnection) -> None:
        if len(peer.paths) > 1:
            answer_all(peer, connection)
        receive_observation(connection)
        connection.close(1009, "frame too long")

    with Peer(script) as peer, open_client(kind, peer.url, retries=QUICK) as client, client.stream() as stream:
        with pytest.raises(dqn_client.RequestRefusedError, match="frame too long") as caught:
            stream.act(1)
        assert (caught.value.status, len(peer.paths)) == (413, 1)
        assert stream.act(2).action == 2


def test_unknown_frames_are_reported(kind: str) -> None:
    """A frame that is not from dqn-serve raises an error that shows it."""

    def script(_peer: Peer, connection: ServerConnection) -> None:
        receive_observation(connection)
        connection.send(b"Welcome")

    with Peer(script) as peer, open_client(kind, peer.url) as client:
        stream = client.stream()
        with pytest.raises(dqn_client.UnexpectedResponseError, match="Welcome"):
            stream.act(1)
        stream.close()


def test_server_that_ends_for_good(kind: str) -> None:
    """If no connection lasts, `act` gives up after the retries."""
    with Peer(lambda *_: None) as peer, open_client(kind, peer.url, retries=QUICK) as client:
        with client.stream() as stream, pytest.raises(dqn_client.ConnectionLostError, match="closed the stream"):
            stream.act(1)
        assert len(peer.paths) == 1 + QUICK.max_retries


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (response("200 OK", b"<html>Welcome</html>"), dqn_client.UnexpectedResponseError),
        (b"SSH-2.0-OpenSSH\r\n", dqn_client.UnexpectedResponseError),
        (b"", dqn_client.ConnectionLostError),
        (response("502 Bad Gateway", b"no upstream"), dqn_client.NotReadyError),
    ],
)
def test_server_without_websocket(kind: str, sent: bytes, error: type[Exception]) -> None:
    """A stream to a server without WebSocket raises an error with its URL; only temporary failures are retried."""
    with Answering(sent) as other, open_client(kind, other.url, retries=QUICK) as client:
        with pytest.raises(error, match="/act/stream"), client.stream():
            pass
        assert len(other.requests) == (1 if error is dqn_client.UnexpectedResponseError else 1 + QUICK.max_retries)


def test_silent_server(kind: str) -> None:
    """A server that never sends a hello leads to a timeout, a server that does not run to a lost connection."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with open_client(kind, url, timeout=0.05) as client, pytest.raises(dqn_client.TimedOutError):
            client.stream().act(1)
    with open_client(kind, url, retries=QUICK) as client, pytest.raises(dqn_client.ConnectionLostError, match=url[4:]):
        client.stream().act(1)


def test_closed_stream_says_so(kind: str) -> None:
    """Before its first connection, a stream does not know its version; after `close`, `act` opens it again."""
    with Peer(answer_all) as peer, open_client(kind, peer.url) as client:
        stream = client.stream()
        with pytest.raises(RuntimeError, match="not open"):
            _ = stream.version
        assert (stream.act(1).action, stream.version) == (1, 3)
        stream.close()
        assert stream.act(2).action == 2
        stream.close()
        with pytest.raises(ValueError, match="encoding is 'pickle'; expected one of msgpack, json"):
            client.stream(encoding="pickle")
