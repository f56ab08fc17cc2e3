"""Start and stop of the process: signals, ports, logs."""

import asyncio
import json
import signal
import socket
from collections import Counter

import httpx
import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_linear
from dqn_testing.server import Server, running_server, wait_until

pytestmark = pytest.mark.slow

BODY = b'{"observation": [0.1, 0.2, 0.3, 0.4]}'


@pytest.fixture
def store(empty: ModelRepository) -> ModelRepository:
    """`cartpole` with one version."""
    publish_linear(empty, promote=True)
    return empty


def is_listening(server: Server) -> bool:
    """Whether new connections are accepted."""
    try:
        return server.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def half_request(server: Server) -> socket.socket:
    """A connection on which the server waits for the second half of a body."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall(b"POST /act HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY[:10]))
    return connection


def test_start_is_one_line(store: ModelRepository) -> None:
    """One JSON line of the log has the server's address and what it serves, and each refresh is one line."""
    with running_server(store) as server:
        line = server.wait_log("serving")
        assert line["address"].startswith("http://127.0.0.1:")
        assert (line["model"], line["version"], line["level"]) == ("cartpole", 1, "info")
        assert [record["event"] for record in server.records] == ["refreshed", "serving"]


def test_sigterm_finishes_what_is_in_flight(store: ModelRepository) -> None:
    """After SIGTERM a half-sent request is still answered, and then the process ends with status 0."""
    with running_server(store) as server:
        server.wait_ready()
        with half_request(server) as connection:
            server.get("/healthz")  # by then the server has read the first half
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not is_listening(server), 20, "closed")
            connection.sendall(BODY[10:])
            answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert server.process.wait(20) == 0
        server.wait_log("stopped")


def test_sigterm_makes_it_not_ready_at_once(store: ModelRepository) -> None:
    """While draining, the server reports not ready, still acts, and asks clients to connect elsewhere."""
    with running_server(store, drain_seconds=60) as server:
        server.wait_ready()
        assert "connection" not in server.post("/act", BODY).headers
        server.process.send_signal(signal.SIGTERM)
        while (ready := server.get("/readyz")).status_code == 200:
            pass
        assert (ready.status_code, ready.json()["detail"]) == (503, "The server is shutting down.")
        acted = server.post("/act", BODY)
        assert acted.json()["action"] == 1
        assert acted.headers["connection"] == "close"
        assert server.stop(signal.SIGINT) == 130


@pytest.mark.parametrize(("workers", "drain_seconds"), [(1, 0.2), (1, 0), (2, 0.2)])
def test_sigterm_under_load_fails_nothing(store: ModelRepository, workers: int, drain_seconds: float) -> None:
    """32 clients that reconnect when asked to get complete answers until the server no longer listens."""
    with running_server(store, workers=workers, drain_seconds=drain_seconds) as server:
        wait_until(lambda: _serving(server) == workers, 60, "serving")  # a worker that is still starting answers nobody
        ends = asyncio.run(_hammer(server, clients=32))
        assert server.process.wait(20) == 0
    assert ends == {"refused": 32}


def _serving(server: Server) -> int:
    return sum(record["event"] == "serving" for record in server.records)


async def _hammer(server: Server, clients: int) -> Counter[str]:
    """The outcomes of clients that send requests as fast as they can while SIGTERM arrives."""
    host, port = server.url.removeprefix("http://").split(":")
    request = b"POST /act HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    ends: Counter[str] = Counter()
    answered, enough = 0, asyncio.Event()

    async def client() -> None:
        nonlocal answered
        while True:
            try:
                reader, writer = await asyncio.open_connection(host, int(port))
            except ConnectionRefusedError:
                ends["refused"] += 1
                return
            is_last = False
            while not is_last:
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
                assert (head.split()[1], json.loads(body)["action"]) == (b"200", 1)
                answered += 1
                if answered == 10 * clients:
                    enough.set()
                is_last = b"connection: close" in head
            writer.close()

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    async with asyncio.timeout(20):
        await enough.wait()
    server.process.send_signal(signal.SIGTERM)
    for failure in await asyncio.gather(*tasks, return_exceptions=True):
        if failure is not None:
            ends[repr(failure)] += 1
    return ends


def test_request_that_never_ends_does_not_delay_shutdown(store: ModelRepository) -> None:
    """The server stops waiting for a client that stops sending after shutdown_seconds."""
    with running_server(store, shutdown_seconds=1) as server:
        server.wait_ready()
        with half_request(server):
            server.get("/healthz")
            assert server.stop() == 0


def test_ctrl_c_ends_cleanly(store: ModelRepository) -> None:
    """Ctrl-C ends an idle server at once with status 130 and no traceback."""
    with running_server(store, drain_seconds=60) as server:
        server.wait_ready()
        assert server.stop(signal.SIGINT) == 130
        events = [record["event"] for record in server.records]
        assert events == ["refreshed", "serving", "stopped", "Interrupted."]


def test_kill_leaves_a_repository_that_serves(store: ModelRepository) -> None:
    """After kill -9 the next server serves the same version."""
    with running_server(store) as server:
        server.wait_ready()
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    with running_server(store) as server:
        server.wait_ready()
        assert server.post("/act", BODY).json()["version"] == 1


def test_taken_port_is_one_sentence(store: ModelRepository) -> None:
    """A port in use is reported in one sentence, with status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running_server(store, port=port) as server:
            assert server.process.wait(20) == 1
            server.wait_log(
                f"error: Cannot listen on 127.0.0.1 port {port}: Address already in use. "
                "Choose another with --port or --host."
            )
            assert len(server.records) == 1


def test_access_log_is_optional(store: ModelRepository) -> None:
    """With DQN_ACCESS_LOG every request is logged in a line with its method, path, status and time."""
    with running_server(store, access_log=True) as server:
        server.post("/act", BODY)
        line = server.wait_log("request", path="/act")
        assert (line["method"], line["status"]) == ("POST", 200)
        assert line["seconds"] > 0
        server.get("/nothing")
        assert server.wait_log("request", path="/nothing")["status"] == 404


def test_console_log_is_for_people(store: ModelRepository) -> None:
    """With log_format console the lines are text, not JSON."""
    with running_server(store, log_format="console") as server:
        status = server.stop() if _wait_for_text(server, "serving") else None
        assert status == 0


def _wait_for_text(server: Server, word: str) -> bool:
    with server._changed:
        return server._changed.wait_for(lambda: any(word in record["event"] for record in server.records), 20)
