"""A background task that fails is restarted, and until it works again the server reports not ready."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from dqn_models.repository import ModelRepository
from dqn_serving.app import Server
from dqn_serving.services import Services
from dqn_serving.settings import read_settings
from tests.serving.test_faults import request


@pytest.mark.parametrize("fault", [MemoryError("no room"), asyncio.CancelledError(), RuntimeError("no thread")])
def test_refresher_that_dies(
    repository: ModelRepository, fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends a poll of the repository: /readyz of both APIs is 503 until the next one, and it is counted."""
    services = Services(read_settings(["--repository", str(repository.root)]))
    app = Server(services).app
    attempt(services)
    assert request(app, "GET", "/readyz")[0] == 200
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(services.refresher, "poll", failing(fault))
        attempt(services)
    assert [(entry["event"], entry["task"]) for entry in logs] == [("background task failed", "refresh")]
    status, problem = request(app, "GET", "/readyz")
    assert status == problem["status"] == 503
    assert "refresh" in problem["detail"]
    status, error = request(app, "GET", "/v2/health/ready")
    assert (status, list(error)) == (503, ["error"])
    assert dict(services.segment.entries())["task_restarts", "refresh"].tolist() == [1]
    attempt(services)
    assert request(app, "GET", "/readyz")[0] == 200


def attempt(services: Services) -> None:
    """Polls the repository once, as the server does when it starts."""

    async def start() -> None:
        await services.tasks.start("refresh", services.refresher.poll, 3600, at_once=True)

    asyncio.run(start())


def failing(fault: BaseException) -> Callable[[], Any]:
    """A poll that raises `fault`."""

    async def poll() -> None:
        raise fault

    return poll


def test_unreadable_repository_is_not_an_empty_one(
    repository: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the repository cannot be read, /readyz says so, not that there is no model; later it is served."""
    services = Services(read_settings(["--repository", str(repository.root)]))
    app = Server(services).app
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.iterdir", refuse)
        attempt(services)
        for path in ("/readyz", "/v2/health/ready"):
            status, document = request(app, "GET", path)
            assert status == 503
            assert "Permission denied" in str(document)
    attempt(services)
    assert request(app, "GET", "/readyz")[0] == 200


def refuse(*_: Any) -> None:
    """Raises what the system raises for another user's directory."""
    raise PermissionError(13, "Permission denied")
