"""Everything around the calls: signals, addresses, Kubernetes' variables, load balancers' probes, encodings."""

import gzip
import re
import signal
import socket

import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.fixtures import TOKEN
from dqn_testing.repositories import publish_linear
from dqn_testing.server import Server, running_server
from tests.serving.connection import RIGHT, Connection, call


@pytest.fixture
def store(empty: ModelRepository) -> ModelRepository:
    """`cartpole` with a champion."""
    publish_linear(empty, promote=True)
    return empty


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_hangup_drains(store: ModelRepository, workers: int) -> None:
    """A closed terminal stops the server like SIGTERM: a half-sent request is answered, and the status is 0."""
    with running_server(store, workers=workers) as server:
        server.wait_ready()
        connection = Connection(server)
        request = call(RIGHT)
        connection.send(request)
        assert connection.receive().status == 200  # by now a worker has taken the connection
        connection.send(request[:-5])
        server.process.send_signal(signal.SIGHUP)
        connection.send(request[-5:])
        assert connection.receive().document["action"] == 1
        connection.close()
        assert server.process.wait(20) == 0


@pytest.mark.slow
def test_service_links_of_kubernetes(store: ModelRepository) -> None:
    """DQN_PORT as Kubernetes sets it for a Service named dqn is ignored with a warning."""
    with running_server(store, env={"DQN_PORT": "tcp://10.96.0.1:8000"}) as server:
        server.wait_ready()
        assert "enableServiceLinks" in server.wait_log("DQN_PORT ignored")["remedy"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_all_addresses(store: ModelRepository, workers: int) -> None:
    """With `--host ::` the server can be reached over IPv6 and IPv4."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this system has no sockets for both")
    with running_server(store, host="::", workers=workers) as server:
        port = int(server.wait_log("serving")["address"].rpartition(":")[2])
        for host in ("::1", "127.0.0.1"):
            with socket.create_connection((host, port), timeout=20) as connection:
                connection.sendall(call(RIGHT))
                assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_keep_alive_says_its_timeout(server: Server) -> None:
    """Clients learn when an idle connection is closed, on both paths."""
    for response in (server.post("/act", RIGHT), server.get("/healthz")):
        assert response.headers["keep-alive"] == "timeout=75"


@pytest.mark.parametrize("target", [b"*", b"/"])
@pytest.mark.parametrize("more", [b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"])
def test_options_of_the_whole_server(server: Server, target: bytes, more: bytes) -> None:
    """`OPTIONS *`, which HAProxy and Knative send, is answered with 204 and the methods that exist."""
    connection = Connection(server)
    connection.send(b"OPTIONS %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (target, more))
    found = connection.socket.recv(4096)
    connection.close()
    assert found.startswith(b"HTTP/1.1 204")
    assert re.search(rb"allow: GET, HEAD, OPTIONS, POST, PUT\r\n", found)


def test_compressed_bodies_are_inflated_or_refused(server: Server) -> None:
    """A compressed body is inflated or, by a call that does not support it, refused with 415."""
    gzipped = {"content-encoding": "gzip"}
    alias = {**gzipped, "authorization": f"Bearer {TOKEN}"}
    refused = (
        server.post("/act", gzip.compress(RIGHT), headers=gzipped),
        server.post("/models/cartpole/q-values", gzip.compress(RIGHT), headers=gzipped),
        server.request("PUT", "/models/cartpole/aliases/beta", content=gzip.compress(b"{}"), headers=alias),
    )
    for response in refused:
        assert (response.status_code, response.json()["reason"]) == (415, "encoding")
        assert "'gzip'" in response.json()["detail"]
    assert server.post("/act", RIGHT, headers={"content-encoding": "identity"}).status_code == 200
