"""The calls other than infer: health, metadata, index, statistics; tokens, methods, and no champion."""

import json
from typing import Any

import httpx
import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_linear
from dqn_testing.server import Server, running_server, wait_until
from tests.serving.oip.wire import INFER, send, tensor

TOKEN = "correct-horse"  # noqa: S105  (of the server that the tests start)


def error_of(response: httpx.Response) -> str:
    """The sentence of an error."""
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"]
    return str(response.json()["error"])


def test_health_is_json(server: Server) -> None:
    """Liveness and readiness answer 200 with the keys that KServe's client reads."""
    assert server.get("/v2/health/live").json() == {"live": True}
    assert server.get("/v2/health/ready").json() == {"ready": True}
    assert server.get("/v2/models/cartpole/ready").json() == {"name": "cartpole", "ready": True}


def test_index_of_what_is_ready(server: Server) -> None:
    """`{"ready": true}` lists only the loaded versions; a version becomes READY once it is requested."""
    everything = server.post("/v2/repository/index", b"").json()
    assert server.post("/v2/repository/index", {"ready": False}).json() == everything
    assert server.get("/v2/models/cartpole/versions/3/ready").status_code == 200
    ready = server.post("/v2/repository/index", {"ready": True}).json()
    assert {"name": "cartpole", "version": "3", "state": "READY", "reason": ""} in ready
    assert all(entry["state"] == "READY" for entry in ready)


def test_unloaded_versions_say_why(empty: ModelRepository) -> None:
    """A version that nobody has requested is UNAVAILABLE with a reason, but its metadata is available."""
    publish_linear(empty, promote=True)
    publish_linear(empty)
    with running_server(empty) as server:
        server.wait_ready()
        one, two = server.post("/v2/repository/index", b"").json()
        assert (one["state"], two["state"]) == ("READY", "UNAVAILABLE")
        assert "the first request that names this version loads it" in two["reason"]
        assert server.get("/v2/models/cartpole/versions/2").json()["versions"] == ["1", "2"]
        assert "no version 2 in memory" in error_of(server.get("/v2/models/cartpole/versions/2/stats"))
        assert send(server, {"inputs": [tensor()]}, "/v2/models/cartpole/versions/2/infer").status_code == 200
        (found,) = server.get("/v2/models/cartpole/versions/2/stats").json()["model_stats"]
        assert (found["version"], found["inference_count"]) == ("2", 1)
        assert found["batch_stats"][0]["batch_size"] == 1


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", INFER, "POST"), ("POST", "/v2", "GET"), ("PUT", "/v2/repository/index", "POST"), ("DELETE", "/v2", "GET")],
)
def test_other_methods(server: Server, method: str, path: str, allowed: str) -> None:
    """Another method gets 405 and the allowed one."""
    response = server.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)
    assert f"use {allowed}" in error_of(response)


def test_head_is_get_without_a_body(server: Server) -> None:
    """HEAD answers as GET does, without its body."""
    response = server.request("HEAD", "/v2/health/ready")
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("path", ["/v2/", "/v2/models", "/v2/models/cartpole/", "/v2/a/b/c/d", "/v2//", "/v2/models//"])
def test_unknown_paths(server: Server, path: str) -> None:
    """Unknown paths get 404 in the protocol's form, and count as one endpoint."""
    response = server.get(path)
    assert response.status_code == 404
    assert error_of(response)
    assert f'"{path}"' not in server.get("/metrics").text


def test_without_a_champion(empty: ModelRepository) -> None:
    """Before the first champion nothing is ready, each call says why, and then all are."""
    publish_linear(empty)
    with running_server(empty) as server:
        server.wait_log("no champion")
        assert server.get("/v2/health/live").status_code == 200
        for path in (
            "/v2/health/ready",
            "/v2/models/cartpole/ready",
            "/v2/models/cartpole",
            "/v2/models/cartpole/config",
        ):
            response = server.get(path)
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")
            assert "cartpole has no champion yet" in error_of(response)
        assert send(server, {"inputs": [tensor()]}).status_code == 503
        empty.promote("cartpole", 1)
        wait_until(lambda: server.get("/v2/health/ready").status_code == 200, 20, "ready")
        assert send(server, {"inputs": [tensor()]}).status_code == 200


def test_every_call_but_health_needs_the_token(repository: ModelRepository) -> None:
    """With DQN_REQUIRE_TOKEN every call but health needs a bearer token."""
    with running_server(repository, env={"DQN_API_TOKEN": TOKEN}, require_token=True) as server:
        server.wait_ready()
        assert server.get("/v2/health/live").status_code == server.get("/v2/health/ready").status_code == 200
        for path in ("/v2", "/v2/models/cartpole", "/v2/models/cartpole/ready", "/v2/models/stats", "/v2/nothing"):
            response = server.get(path)
            assert (response.status_code, response.headers["www-authenticate"][:6]) == (401, "Bearer")
            assert "needs a valid bearer token" in error_of(response)
        assert send(server, {"inputs": [tensor()]}).status_code == 401
        assert send(server, {"inputs": [tensor()]}, authorization=f"Bearer {TOKEN}").status_code == 200
        documented = server.get("/openapi.json", headers={"authorization": f"Bearer {TOKEN}"}).json()["paths"]
        assert "security" not in documented["/v2/health/live"]["get"]
        assert documented["/v2"]["get"]["security"] == [{"token": []}]
        assert documented["/v2"]["get"]["responses"]["401"] == {"$ref": "#/components/responses/Error401"}


def test_draining_is_not_ready(repository: ModelRepository) -> None:
    """After SIGTERM the server is not ready but still infers."""
    with running_server(repository, drain_seconds=30) as server:
        server.wait_ready()
        server.process.terminate()
        wait_until(lambda: server.get("/v2/health/ready").status_code == 503, 20, "draining")
        assert "shutting down" in error_of(server.get("/v2/health/ready"))
        assert send(server, {"inputs": [tensor()]}).status_code == 200


def test_statistics_forget_batch_sizes_beyond_64(server: Server) -> None:
    """However many batch sizes are sent, the statistics stay small and their totals correct."""
    before: Any = server.get("/v2/models/lake/stats").json()["model_stats"][0]
    for size in range(1, 65):
        row = tensor([1] * size, [size], datatype="INT64")
        assert send(server, {"inputs": [row]}, "/v2/models/lake/infer").status_code == 200
    after = server.get("/v2/models/lake/stats").json()["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == sum(range(1, 65))
    assert len(after["batch_stats"]) <= 64
    assert json.dumps(after).count("batch_size") == len(after["batch_stats"])
