"""An internal error: the client gets a 500 problem, the log the traceback without secrets, the server continues."""

import asyncio
import dataclasses
import json
from typing import Any

import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from dqn_models.policy import Policy
from dqn_models.repository import ModelRepository
from dqn_serving.app import Server
from dqn_serving.policies.loaded import load
from dqn_serving.services import Services
from dqn_serving.settings import read_settings
from dqn_serving.telemetry.shared_memory import SharedMetrics


class BrokenPolicy(Policy):
    """A policy that stops working once it is loaded."""

    def q_values(self, observations: Any) -> Any:
        """Raises an error."""
        raise MemoryError(f"no room for {observations.shape}")


@pytest.fixture
def services(repository: ModelRepository) -> Services:
    """The parts of a server whose champion fails at every run."""
    assembled = Services(read_settings(["--repository", str(repository.root)]))
    loaded = load(repository, "cartpole", 1, 64, SharedMetrics().segment(0))
    broken = BrokenPolicy(repository.read_file("cartpole", 1, "model.onnx"))
    assembled.registry.add("cartpole").champion = dataclasses.replace(loaded, policy=broken)
    assembled.registry.choose_default()
    return assembled


def request(app: FastAPI, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
    """Status and document of one answer."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "root_path": ""}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


def test_fault_in_acting_is_a_500_problem(services: Services) -> None:
    """An unexpected error in a native call gets a problem document that does not reveal the cause; the log does."""
    with capture_logs() as logs:
        status, problem = request(Server(services).app, "POST", "/act", b'{"observation": [0, 0, 0, 0]}')
    assert (status, problem["status"]) == (500, 500)
    assert "room" not in problem["detail"]
    assert [entry["event"] for entry in logs] == ["request failed"]
    assert dict(services.segment.entries())["requests", "/act", "500"].tolist() == [1]


def test_fault_elsewhere_is_a_500_problem(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same holds for any other call."""
    monkeypatch.setattr(services.registry, "unavailable_reason", lambda: 1 / 0)
    app = Server(services).app
    with capture_logs() as logs:
        status, problem = request(app, "GET", "/readyz")
    assert (status, problem["status"]) == (500, 500)
    assert [entry["event"] for entry in logs] == ["request failed"]
    assert request(app, "GET", "/healthz") == (200, {"status": "ok"})
