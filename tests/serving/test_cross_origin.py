"""Web pages of other origins may call only if the settings name their origin."""

from collections.abc import Iterator

import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.server import Server, running_server

LAB = "https://lab.example"
ACT = {"observation": [0.1, 0.2, 0.3, 0.4]}
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}
PATHS = ("/act", "/models/cartpole/q-values", "/v2/models/cartpole/infer", "/nothing")


@pytest.fixture(scope="module")
def open_to_lab(repository: ModelRepository) -> Iterator[Server]:
    """A server that two origins may call."""
    with running_server(repository, cors_origins=f"{LAB},http://localhost:3000") as running:
        running.wait_ready()
        yield running


def cors(headers: object) -> set[str]:
    """The names of the CORS headers."""
    return {name for name in dict(headers) if name.startswith("access-control-")}  # type: ignore[call-overload]


@pytest.mark.parametrize("path", PATHS)
def test_off_by_default(server: Server, path: str) -> None:
    """Without the setting no answer allows any origin, and a preflight request is answered like any OPTIONS request."""
    assert not cors(server.post(path, ACT, headers={"Origin": LAB}).headers)
    preflight = server.request("OPTIONS", path, headers={"Origin": LAB, **PREFLIGHT})
    assert not cors(preflight.headers)
    assert preflight.status_code == (404 if path == "/nothing" else 204)


@pytest.mark.parametrize("path", PATHS)
def test_named_origins_may_call(open_to_lab: Server, path: str) -> None:
    """The configured origins may read all answers, including errors, to act calls as to all others."""
    for _ in range(2):
        response = open_to_lab.post(path, ACT, headers={"Origin": LAB, "X-Request-ID": "1"})
        assert response.headers["access-control-allow-origin"] == LAB
        assert response.headers["vary"] == "Origin"
        assert "X-Request-ID" in response.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in response.headers
        assert response.headers["x-request-id"] == "1"
    assert not {"access-control-allow-origin"} & cors(open_to_lab.post(path, ACT).headers)
    other = open_to_lab.post(path, ACT, headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_preflight(open_to_lab: Server) -> None:
    """A preflight is allowed for these origins and our headers, refused for any other; both are counted."""
    before = open_to_lab.metric("dqn_requests_total", endpoint="other", status="200")
    granted = open_to_lab.request("OPTIONS", "/act", headers={"Origin": LAB, **PREFLIGHT})
    assert (granted.status_code, granted.headers["access-control-allow-origin"]) == (200, LAB)
    assert "POST" in granted.headers["access-control-allow-methods"]
    refused = open_to_lab.request("OPTIONS", "/act", headers={"Origin": "https://evil.example", **PREFLIGHT})
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    assert open_to_lab.metric("dqn_requests_total", endpoint="other", status="200") == before + 1
