"""How a stream ends, and what does not end it."""

import contextlib
import json
import os
import re
import select
import signal
import socket
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_linear
from dqn_testing.server import Server, running_server, wait_until
from tests.serving.stream.client import (
    JSON,
    LEFT,
    MSGPACK,
    NO_MASK,
    RIGHT,
    Stream,
    bare_stream,
    framed,
    refusal,
    stream,
)

pytestmark = pytest.mark.slow

ACTION = {"type": "action", "action": 1, "version": 1}
MOST_SENT = 100_000_000  # bytes; the kernel buffers a few million of them


@pytest.fixture
def store(empty: ModelRepository) -> ModelRepository:
    """`cartpole` with one version."""
    publish_linear(empty, promote=True)
    return empty


def closing_code(client: Stream) -> int:
    """Reads to the end; returns the code that the server closed with."""
    with pytest.raises(ConnectionClosed) as closed:
        list(iter(client.receive, None))
    assert closed.value.rcvd is not None
    return int(closed.value.rcvd.code)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


@pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])
def test_consecutive_errors_close_the_stream(server: Server, subprotocol: str) -> None:
    """Fifteen invalid frames and a valid one keep it open; sixteen invalid ones are answered and close it with 1008."""
    with stream(server, "/act/stream", subprotocol) as client:
        for _ in range(15):
            assert client.ask(observation=[])["type"] == "error"
        assert client.ask(observation=RIGHT) == ACTION
        for _ in range(16):
            assert client.ask(observation=[])["type"] == "error"
        assert closing_code(client) == 1008


def test_frames_beyond_the_limit_close_the_stream(server: Server) -> None:
    """A frame, or a message in fragments, beyond max_body_bytes closes it with 1009; smaller ones are answered."""
    padding = " " * 99_000
    with stream(server) as client:
        assert client.ask_raw(json.dumps({"observation": RIGHT}) + padding) == ACTION
        client.connection.send(padding * 2)
        assert closing_code(client) == 1009
    with stream(server) as client:
        with contextlib.suppress(ConnectionClosed):  # the server may close it before the last, empty fragment is sent
            client.connection.send(iter([padding, padding]))
        assert closing_code(client) == 1009


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x81\xff" + (10**10).to_bytes(8, "big") + NO_MASK, 1009),
        (b"\x81\x02{}", 1002),
        (b"\xc1\x82" + NO_MASK + b"{}", 1002),
        (b"\x83\x82" + NO_MASK + b"{}", 1002),
        (b"\x80\x82" + NO_MASK + b"{}", 1002),
        (b"\x89\xfe\x00\x7e" + NO_MASK + bytes(126), 1002),
        (b"\x88\x81" + NO_MASK + b"x", 1002),
    ],
    ids=[
        "ten gigabytes",
        "unmasked",
        "reserved bit",
        "unknown opcode",
        "nothing to continue",
        "long ping",
        "short close",
    ],
)
def test_faults_below_the_frames_close_the_stream(server: Server, sent: bytes, code: int) -> None:
    """A violation of RFC 6455 closes the stream with its code, after everything before it was answered."""
    with bare_stream(server) as connection:
        connection.sendall(framed(b'{"observation": [0, 0, 0, 0]}') + sent)
        received = read_all(connection)
        answer, close = received.split(b"\x88", 1)
        assert b'"type":"action"' in answer
        assert int.from_bytes(close[1:3], "big") == code


def test_the_wrong_kind_of_frame_is_an_error(server: Server) -> None:
    """A binary frame in a JSON stream, or a text frame in a MessagePack stream, is answered with an error."""
    for subprotocol, frame in ((JSON, b"\x80"), (MSGPACK, "{}")):
        with stream(server, "/act/stream", subprotocol) as client:
            refused = client.ask_raw(frame)
            assert (refused["type"], refused["status"], refused["reason"]) == ("error", 415, "encoding")
            assert client.ask(observation=RIGHT) == ACTION


def test_a_client_that_closes_gets_its_answers_first(server: Server) -> None:
    """Frames before a close are answered, the close is returned, and the server closes the connection."""
    with bare_stream(server) as connection:
        connection.sendall(framed(b'{"observation": [0, 0, 0, 0]}') * 3 + b"\x88\x82" + NO_MASK + b"\x03\xe8")
        received = read_all(connection)
        assert received.count(b'"type":"action"') == 3
        assert received.endswith(b"\x88\x02\x03\xe8")
    wait_until(lambda: server.metric("dqn_streams") == 0, 20, "closed")


def test_sigterm_is_announced_and_frames_are_still_answered(store: ModelRepository) -> None:
    """Each open stream is told of the drain, answered until its end, and closed with 1001; no new one is opened."""
    with running_server(store, drain_seconds=1) as server:
        server.wait_ready()
        with stream(server) as one, stream(server, "/act/stream", MSGPACK) as other:
            server.process.send_signal(signal.SIGTERM)
            for client in (one, other):
                assert client.receive() == {"type": "draining"}
                assert client.ask(observation=LEFT)["action"] == 0
            assert refusal(server, "/act/stream")["status"] == 503
            assert [closing_code(client) for client in (one, other)] == [1001, 1001]
        assert server.process.wait(20) == 0


def test_ctrl_c_closes_streams(store: ModelRepository) -> None:
    """Ctrl-C closes with 1001; the server does not wait for a client that does not close."""
    with running_server(store) as server:
        server.wait_ready()
        with stream(server) as client, bare_stream(server) as silent:
            server.process.send_signal(signal.SIGINT)
            assert closing_code(client) == 1001
            assert b"\x88" in silent.recv(65536)
            assert server.process.wait(20) == 130


def test_a_client_that_does_not_read_is_not_read_from(store: ModelRepository) -> None:
    """A client that sends and does not read is stopped before its answers fill our memory, and then gets them all."""
    frame = framed(b'{"observation": [0, 0, 0, 0], "id": "%b"}' % (b"a" * 64))
    with running_server(store) as server:
        server.wait_ready()
        with bare_stream(server) as connection:
            connection.sendall(frame)
            answer = connection.recv(65536)
            before = peak_bytes(server)
            sent = 0
            while sent < MOST_SENT and select.select([], [connection], [], 1.0)[1]:
                sent += connection.send((frame * 100)[sent % len(frame) :])
            assert sent < MOST_SENT
            assert server.post("/act", {"observation": RIGHT}).status_code == 200
            assert peak_bytes(server) - before < 16 * 1024 * 1024
            expected = sent // len(frame) * len(answer)
            while expected > 0:
                received = connection.recv(1 << 20)
                assert received
                expected -= len(received)
            assert expected == 0


def peak_bytes(server: Server) -> int:
    """The peak resident memory of the process."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


def test_silent_clients_are_pinged_and_dropped(store: ModelRepository) -> None:
    """A peer that answers no ping is dropped; one that does stays, however long it is silent."""
    with running_server(store, stream_ping_seconds=0.2) as server:
        server.wait_ready()
        with stream(server) as alive, bare_stream(server) as dead:
            assert read_all(dead).startswith(b"\x89\x00")
            assert server.metric("dqn_streams") == 1
            assert alive.ask(observation=RIGHT) == ACTION


def test_workers_count_together(store: ModelRepository) -> None:
    """The gauge covers all workers; streams of a killed worker no longer count as open."""
    with running_server(store, workers=2) as server:
        server.wait_ready()
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                assert stack.enter_context(stream(server)).ask(observation=RIGHT) == ACTION
            assert server.metric("dqn_streams", model="cartpole") == 20
            assert server.metric("dqn_requests_total", endpoint="/act/stream", status="200") == 20
            os.kill(server.wait_log("worker started")["process"], signal.SIGKILL)
            wait_until(lambda: server.metric("dqn_streams", model="cartpole") < 20, 20, "replaced")
            assert server.metric("dqn_requests_total", endpoint="/act/stream", status="200") == 20
