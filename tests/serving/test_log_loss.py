"""A log line that cannot be written is lost, and nothing else, in every process of a server."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_linear
from dqn_testing.server import wait_until

pytestmark = pytest.mark.slow

_COMMAND = str(Path(sys.executable).with_name("dqn-serve"))
_TOKEN = {"Authorization": "Bearer t"}


@pytest.fixture
def store(tmp_path: Path) -> ModelRepository:
    """`cartpole` with versions 1 (champion) and 2."""
    repository = ModelRepository(tmp_path / "store")
    publish_linear(repository, promote=True)
    publish_linear(repository, bias=1.0)
    return repository


@contextlib.contextmanager
def served(store: ModelRepository, *flags: str, stderr: int | IO[Any], shell: str = "") -> Iterator[httpx.Client]:
    """A client of a ready server whose standard error is `stderr`, or is closed by `shell`; it exits with status 0."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [_COMMAND, "--port", str(port), "--repository", str(store.root), "--refresh-seconds", "0.1"]
    arguments += ["--drain-seconds", "0", "--access-log", "--api-token", "t", *flags]
    process = subprocess.Popen(["/bin/sh", "-c", f'exec "$@" {shell}', "sh", *arguments], stderr=stderr)
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, limits=limits) as client:

        def is_ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return client.get("/readyz").status_code == 200
            return False

        try:
            wait_until(is_ready, 30, "ready")
            client.headers["x-process"] = str(process.pid)
            yield client
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()


def version(client: httpx.Client) -> int:
    """The version that answers."""
    response = client.post("/act", json={"observation": [0.1, 0.2, 0.3, 0.4]})
    assert response.status_code == 200, response.text
    return int(response.json()["version"])


def works_on(client: httpx.Client, store: ModelRepository) -> None:
    """Acts, follows promotions, and answers admin calls and errors in the documented form, counting what it loses."""
    assert version(client) == 1
    for promoted in (2, 1, 2):
        store.promote("cartpole", promoted)
        wait_until(lambda promoted=promoted: version(client) == promoted, 20, "refreshed")  # type: ignore[misc]
    put = client.put("/models/cartpole/aliases/champion", json={"version": 1}, headers=_TOKEN)
    assert (put.status_code, put.json()["champion"]) == (200, 1)
    assert client.post("/models/cartpole/refresh", headers=_TOKEN).json()["outcome"] in {"refreshed", "unchanged"}
    refused = client.post("/act", content=b"{")
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
    wait_until(lambda: client.get("/readyz").json()["version"] == 1, 20, "ready with version 1")
    assert lost(client) > 8


def lost(client: httpx.Client) -> float:
    """The number of lost lines."""
    (found,) = re.findall(r"^dqn_log_lines_lost_total (\S+)", client.get("/metrics").text, re.MULTILINE)
    return float(found)


def test_reader_is_gone(store: ModelRepository) -> None:
    """A server keeps serving after the reader of its log has gone."""
    receiving, sending = os.pipe()
    with contextlib.closing(os.fdopen(sending, "w")) as log, served(store, stderr=log) as client:
        os.close(receiving)
        works_on(client, store)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_disk_is_full(store: ModelRepository, workers: str) -> None:
    """A server that cannot write a single line of its log starts and serves."""
    with Path("/dev/full").open("w") as log, served(store, "--workers", workers, stderr=log) as client:
        works_on(client, store)


@pytest.mark.parametrize("shell", ["2>&-", "<&- >&- 2>&-"])
def test_standard_error_is_closed(store: ModelRepository, shell: str) -> None:
    """A server that was started without standard streams serves."""
    with served(store, stderr=subprocess.DEVNULL, shell=shell) as client:
        works_on(client, store)


def test_supervisor_replaces_workers_without_a_log(store: ModelRepository) -> None:
    """A supervisor replaces a killed worker even after the reader of its log has gone."""
    receiving, sending = os.pipe()
    with contextlib.closing(os.fdopen(sending, "w")) as log, served(store, "--workers", "2", stderr=log) as client:
        os.close(receiving)
        supervisor = client.headers["x-process"]
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children")
        killed = children.read_text().split()[0]
        os.kill(int(killed), signal.SIGKILL)
        wait_until(lambda: len({*children.read_text().split()} - {killed}) == 2, 20, "replaced")
        works_on(client, store)


def test_reader_that_comes_back(store: ModelRepository, tmp_path: Path) -> None:
    """Lines are lost while nobody reads, and written again once there is a reader."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with fifo.open("w") as log, served(store, stderr=log) as client:
        os.close(reader)
        version(client)
        before = lost(client)
        assert before > 0
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        version(client)
        assert lost(client) == before + 1, "the line of the metrics call before the reader came"
        assert b'"path":"/act"' in os.read(reader, 100_000).replace(b" ", b"")
        os.close(reader)


def test_reader_that_does_not_read(store: ModelRepository) -> None:
    """A reader that stops reading delays nobody: when the pipe is full, requests are answered and their lines lost."""
    receiving, sending = os.pipe()
    with contextlib.closing(os.fdopen(sending, "w")) as log, served(store, stderr=log) as client:
        while not lost(client):
            client.get("/healthz")
        works_on(client, store)
    os.close(receiving)
