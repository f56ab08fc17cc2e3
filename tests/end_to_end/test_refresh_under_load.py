"""Promotions while several clients keep sending requests: clients notice nothing but the version."""

import contextlib
import itertools
import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_linear
from dqn_testing.server import Server, running_server, wait_until

PROMOTIONS = 20
CLIENTS = 4
BODIES = (b'{"observation": [0.1, 0.2, 0.3, 0.4]}', b'{"observations": [[0, 0, 1, 0], [0, 0, -1, 0]]}')
EXPECTED = ([1], [1, 0])


class Load:
    """What the clients received."""

    def __init__(self) -> None:
        self.answers = 0
        self.versions: set[int] = set()
        self.faults: list[str] = []
        self._stop = threading.Event()

    def run(self, host: str, port: int) -> None:
        """One client: sends requests on one connection until the load ends."""
        turns = itertools.cycle((0, 1))
        with contextlib.closing(HTTPConnection(host, port, timeout=10)) as connection:
            while not self._stop.is_set():
                turn = next(turns)
                try:
                    connection.request("POST", "/act", BODIES[turn])
                    response = connection.getresponse()
                    self._check(response.status, response.read(), turn)
                except (OSError, HTTPException, ValueError) as error:
                    self.faults.append(repr(error))
                    return

    def _check(self, status: int, body: bytes, turn: int) -> None:
        answer = json.loads(body)
        actions = answer.get("actions", [answer.get("action")])
        if status != 200 or actions != EXPECTED[turn]:
            self.faults.append(f"{status} {answer}")
        self.answers += 1
        self.versions.add(answer.get("version", 0))

    def stop(self) -> None:
        """Stops all clients after their next answer."""
        self._stop.set()


@contextlib.contextmanager
def load_on(server: Server) -> Iterator[Load]:
    """Clients that send requests without a pause while the block runs."""
    host, port = server.url.removeprefix("http://").split(":")
    load = Load()
    clients = [threading.Thread(target=load.run, args=(host, int(port))) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield load
    finally:
        load.stop()
        for client in clients:
            client.join()


def served(server: Server) -> int:
    """The version that answers a request made now (the clients' may have been under way for a while)."""
    return int(server.post("/models/cartpole/act", BODIES[0]).json()["version"])


def damage(store: ModelRepository) -> list[int]:
    """Publishes versions and damages each in a different way."""
    versions = [publish_linear(store).version for _ in range(3)]
    (store.root / f"cartpole/{versions[0]}/model.onnx").write_bytes(b"damaged")
    (store.root / f"cartpole/{versions[1]}/model.onnx").unlink()
    (store.root / f"cartpole/{versions[2]}/manifest.json").write_text('{"schema_version": 99}')
    return versions


@pytest.mark.slow
def test_promotions_under_load_are_not_noticed(tmp_path: Path) -> None:
    """Through 20 promotions and 3 damaged versions no request fails, and only the two good versions answer."""
    store = ModelRepository(tmp_path / "store")
    publish_linear(store, promote=True)
    publish_linear(store, bias=1.0)
    damaged = damage(store)
    alias = store.root / "cartpole/aliases/champion"
    with running_server(store, refresh_seconds=0.2) as server:
        server.wait_ready()
        with load_on(server) as load:
            wait_until(lambda: load.answers > 0, 20, "answering")
            for number in range(PROMOTIONS):
                if number % 6 == 2:
                    failures = server.metric("dqn_model_refreshes_total", outcome="failure")
                    alias.write_text(f"{damaged[number // 6]}\n")
                    server.wait_log("refresh failed", champion=damaged[number // 6])
                    assert server.metric("dqn_model_refreshes_total", outcome="failure") == failures + 1
                    assert server.get("/readyz").status_code == 200
                version = 2 - number % 2
                store.promote("cartpole", version)
                wait_until(lambda version=version: served(server) == version, 20, "served")  # type: ignore[misc]
        assert load.faults == []
        assert load.versions == {1, 2}
        assert load.answers > PROMOTIONS
        assert server.metric("dqn_model_refreshes_total", outcome="success") == PROMOTIONS + 1
        assert server.metric("dqn_requests_total", endpoint="/act", status="200") == load.answers
        assert server.stop() == 0
