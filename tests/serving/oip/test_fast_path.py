"""An infer request in one piece is answered before the framework, exactly like one in pieces."""

import json
import socket
from typing import Any

import numpy as np
import pytest

from dqn_testing.server import Server
from tests.serving.oip.wire import INFER, LENGTH, binary_request, tensor

ROWS = np.random.default_rng(8).normal(size=(3, 4)).astype(np.float32)
JSON = json.dumps({"id": "1", "inputs": [tensor()], "parameters": {"epsilon": 0.5, "seed": 3}}).encode()
BINARY, JSON_LENGTH = binary_request(ROWS, parameters={"binary_data_output": True})
FRAMED = f"{LENGTH}: {JSON_LENGTH}".encode()


def exchange(server: Server, *pieces: bytes) -> tuple[bytes, dict[str, str], bytes]:
    """Sends a request piece by piece; returns the status, headers and body of the answer."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection, connection.makefile("rb") as stream:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        status = stream.readline()
        headers: dict[str, str] = {}
        while line := stream.readline().decode().strip():
            name, _, value = line.partition(": ")
            headers[name] = value
        return status, headers, stream.read(int(headers["content-length"]))


def head(body: bytes, *headers: bytes) -> bytes:
    """The head of an infer request."""
    lines = [f"POST {INFER} HTTP/1.1".encode(), b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", b""])


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (JSON, [], b"HTTP/1.1 200 OK\r\n"),
        (JSON, [b"Accept-Encoding: gzip"], b"HTTP/1.1 200 OK\r\n"),
        (BINARY, [FRAMED], b"HTTP/1.1 200 OK\r\n"),
        (BINARY, [], b"HTTP/1.1 400 Bad Request\r\n"),
        (BINARY[:-1], [FRAMED], b"HTTP/1.1 422 Unprocessable Entity\r\n"),
        (b"{}", [], b"HTTP/1.1 422 Unprocessable Entity\r\n"),
        (JSON, [b"Content-Encoding: gzip"], b"HTTP/1.1 400 Bad Request\r\n"),
    ],
)
def test_both_paths_answer_the_same(server: Server, body: bytes, headers: list[bytes], status: bytes) -> None:
    """Status, headers and body do not depend on how a request arrives, and each is counted once."""
    code = status.split()[1].decode()
    labels: dict[str, Any] = {"endpoint": "/v2/models/{model}/infer", "status": code}
    before = server.metric("dqn_requests_total", **labels)
    start = head(body, *headers)
    whole, pieces = exchange(server, start + body), exchange(server, start[:20], start[20:], body)
    for _, fields, _ in (whole, pieces):
        fields.pop("date")
        fields.pop("x-request-id", None)  # every error has its own
    assert whole == pieces
    assert whole[0] == status
    assert server.metric("dqn_requests_total", **labels) == before + 2


def test_actions_and_statistics_are_counted_once(server: Server) -> None:
    """A request on the fast path counts its actions and its statistics once."""

    def counted() -> tuple[float, int]:
        (found,) = server.get("/v2/models/cartpole/versions/1/stats").json()["model_stats"]
        return server.metric("dqn_actions_total", model="cartpole", version="1"), found["inference_count"]

    actions, inferences = counted()
    assert exchange(server, head(BINARY, FRAMED) + BINARY)[0] == b"HTTP/1.1 200 OK\r\n"
    assert counted() == (actions + 3, inferences + 3)


def test_a_batch_that_overflows_runs_once(server: Server) -> None:
    """A batch whose Q-values overflow is refused after one run of the policy, counted once as a failure."""

    def counted() -> tuple[float, float, int]:
        (found,) = server.get("/v2/models/cartpole/versions/1/stats").json()["model_stats"]
        runs = server.metric("dqn_inference_duration_seconds_count", model="cartpole")
        rejected = server.metric("dqn_observations_rejected_total", model="cartpole", reason="overflow")
        return runs, rejected, found["inference_stats"]["fail"]["count"]

    body, length = binary_request(np.full((3, 4), 3e38, np.float32))
    runs, rejected, failures = counted()
    status, _, answer = exchange(server, head(body, f"{LENGTH}: {length}".encode()) + body)
    assert status == b"HTTP/1.1 422 Unprocessable Entity\r\n"
    assert b"overflow float32" in answer
    assert counted() == (runs + 1, rejected + 1, failures + 1)
