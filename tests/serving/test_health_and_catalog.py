"""Health, the catalogue of models, and answers to unknown paths and methods."""

import pytest

from dqn_models.manifest import Manifest
from dqn_models.repository import ModelRepository
from dqn_serving.problems import MEDIA_TYPE
from dqn_testing.repositories import publish_linear
from dqn_testing.server import Server, running_server


def test_health(server: Server) -> None:
    """A server with a champion is alive and ready, and reports what it serves."""
    assert server.get("/healthz").json() == {"status": "ok"}
    assert server.get("/readyz").json() == {"ready": True, "model": "cartpole", "version": 1}


def test_list_of_models(server: Server) -> None:
    """/models lists every model with its versions, its aliases, and what is in memory."""
    server.post("/act", {"observation": [0, 0, 0, 0], "version": 3})
    models = {entry["model"]: entry for entry in server.get("/models").json()["models"]}
    assert list(models) == ["cartpole", "lake"]
    cartpole = models["cartpole"]
    assert cartpole["is_default"]
    assert cartpole["champion"] == 1
    assert cartpole["aliases"] == {"challenger": 2, "champion": 1}
    assert cartpole["versions"] == [1, 2, 3]
    assert {1, 3} <= set(cartpole["loaded_versions"])
    assert cartpole["problem"] is None
    one = server.get("/models/lake").json()
    assert one.pop("spaces")["observation"] == "one integer from 0 to 15"
    assert one == models["lake"]


@pytest.mark.parametrize(("reference", "version"), [("2", 2), ("challenger", 2), ("champion", 1)])
def test_manifest_of_a_version(server: Server, repository: ModelRepository, reference: str, version: int) -> None:
    """A version's manifest is served as it was published, by number or alias."""
    response = server.get(f"/models/cartpole/versions/{reference}")
    assert Manifest.parse(response.content, "answer") == repository.manifest("cartpole", version)


@pytest.mark.parametrize(
    "path",
    [
        "/models/pong",
        "/models/pong/versions/1",
        "/models/cartpole/versions/9",
        "/models/cartpole/versions/0",
        "/models/cartpole/versions/best",
        "/models/cartpole/versions/" + "9" * 5000,
        "/models/%2e%2e/versions/1",
        "/models/..%2f..%2fetc%2fpasswd",
        "/models/cartpole/versions/..%2f1",
        "/models/%00",
        "/models/%ff",
        "/models/cartpole/",
        "/favicon.ico",
        "/act/",
        "/",
    ],
)
def test_unknown_paths_are_404_problems(server: Server, path: str) -> None:
    """An unknown path gets a 404 problem document, however it is spelt."""
    response = server.get(path)
    assert (response.status_code, response.headers["content-type"]) == (404, MEDIA_TYPE)
    assert response.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/act", "POST"),
        ("DELETE", "/models/lake/q-values", "POST"),
        ("POST", "/healthz", "GET"),
        ("PUT", "/metrics", "GET"),
        ("PATCH", "/models/cartpole/aliases/champion", "PUT"),
        ("GET", "/models/cartpole/refresh", "POST"),
    ],
)
def test_wrong_methods_are_405_problems(server: Server, method: str, path: str, allowed: str) -> None:
    """A wrong method gets a 405 problem document that names the right one."""
    response = server.request(method, path)
    assert (response.status_code, response.headers["content-type"]) == (405, MEDIA_TYPE)
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/models", "/docs", "/openapi.json"])
def test_head_is_get_without_the_body(server: Server, path: str) -> None:
    """HEAD answers what GET answers, without a body."""
    response = server.request("HEAD", path)
    assert response.status_code == 200
    assert response.content == b""


def test_starts_empty_and_becomes_ready_by_itself(empty: ModelRepository) -> None:
    """Without a model the server is alive and says how to get one; it becomes ready once there is a champion."""
    with running_server(empty) as server:
        assert server.get("/healthz").status_code == 200
        for response in (server.get("/readyz"), server.post("/act", {"observation": [0, 0, 0, 0]})):
            assert response.status_code == 503
            assert response.headers["retry-after"] == "1"
            assert f"dqn-train --repository {empty.root}" in response.json()["detail"]
        assert server.post("/models/cartpole/act", {"observation": [0, 0, 0, 0]}).status_code == 404
        publish_linear(empty)
        server.wait_log("no champion", model="cartpole")
        response = server.post("/act", {"observation": [0, 0, 0, 0]})
        assert response.status_code == 503
        assert "dqn-models promote cartpole@VERSION" in response.json()["detail"]
        assert server.post("/act", {"observation": [0, 0, 0, 0], "version": 1}).status_code == 200
        empty.promote("cartpole", 1)
        server.wait_ready()
        assert server.post("/act", {"observation": [0, 0, 0, 0]}).json()["version"] == 1
