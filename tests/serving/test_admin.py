"""Promoting, rolling back and refreshing over HTTP, and who may do so."""

import json
from collections.abc import Iterator

import httpx
import pytest

from dqn_models.repository import ModelRepository
from dqn_serving.problems import MEDIA_TYPE
from dqn_testing.fixtures import TOKEN
from dqn_testing.repositories import publish_linear
from dqn_testing.server import Server, running_server

ADMIN = {"Authorization": f"Bearer {TOKEN}"}
OBSERVATION = {"observation": [0, 0, 0, 0]}


@pytest.fixture
def store(empty: ModelRepository) -> ModelRepository:
    """`cartpole` with versions 1 (champion) and 2."""
    publish_linear(empty, promote=True)
    publish_linear(empty, bias=1.0)
    return empty


@pytest.fixture
def admin(store: ModelRepository) -> Iterator[Server]:
    """A server with admin calls that never polls the repository by itself."""
    with running_server(store, env={"DQN_API_TOKEN": TOKEN}, refresh_seconds=3600) as running:
        running.wait_ready()
        yield running


def put(server: Server, path: str, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    """One PUT, as the administrator by default."""
    return server.request("PUT", path, content=body, headers=ADMIN if headers is None else headers)


def test_promotion_takes_effect_before_it_answers(admin: Server, store: ModelRepository) -> None:
    """After PUT returns, the next action is the new champion's, and the history records the promotion."""
    response = put(admin, "/models/cartpole/aliases/champion", b'{"version": 2}')
    assert response.json() == {"model": "cartpole", "alias": "champion", "version": 2, "previous": 1, "champion": 2}
    assert admin.post("/act", OBSERVATION).json()["version"] == 2
    assert put(admin, "/models/cartpole/aliases/champion", b'{"version": 1.0}').json()["previous"] == 2
    assert admin.post("/act", OBSERVATION).json()["version"] == 1
    assert [event["by"] for event in store.history("cartpole")[-2:]] == ["http", "http"]


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "nonsense"])
def test_a_body_is_json_whatever_its_content_type(server: Server, repository: ModelRepository, kind: str) -> None:
    """Every call with a body accepts what plain curl sends, with the Content-Type of a form."""
    named = {"Content-Type": kind}
    tensor = {"name": "observation", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}
    for path, body in (
        ("/act", OBSERVATION),
        ("/models/cartpole/q-values", OBSERVATION),
        ("/v2/models/cartpole/infer", {"inputs": [tensor]}),
        ("/v2/repository/index", {"ready": True}),
    ):
        assert server.request("POST", path, content=json.dumps(body), headers=named).status_code == 200
    response = put(server, "/models/cartpole/aliases/challenger", b'{"version": 2}', ADMIN | named)
    assert (response.status_code, repository.aliases("cartpole")["challenger"]) == (200, 2)


def test_other_aliases_can_be_set(admin: Server) -> None:
    """Any alias can be set; requests can name it at once, and the champion stays."""
    response = put(admin, "/models/cartpole/aliases/canary", b'{"version": 2}')
    assert response.json() == {"model": "cartpole", "alias": "canary", "version": 2, "previous": None, "champion": 1}
    assert admin.post("/act", {**OBSERVATION, "version": "canary"}).json()["version"] == 2


def test_refresh_checks_at_once(admin: Server, store: ModelRepository) -> None:
    """POST refresh picks up what another process promoted, and says so."""
    store.promote("cartpole", 2)
    assert admin.post("/act", OBSERVATION).json()["version"] == 1
    refreshed = admin.post("/models/cartpole/refresh", b"", headers=ADMIN).json()
    assert refreshed == {"model": "cartpole", "champion": 2, "outcome": "refreshed", "detail": None}
    again = admin.post("/models/cartpole/refresh", b"", headers=ADMIN).json()
    assert again["outcome"] == "unchanged"
    assert admin.post("/act", OBSERVATION).json()["version"] == 2


def test_refresh_finds_new_models(admin: Server, store: ModelRepository) -> None:
    """POST refresh of a model that was published in the meantime serves it; an unknown one gets 404."""
    publish_linear(store, "other", promote=True)
    assert admin.post("/models/other/act", OBSERVATION).status_code == 404
    assert admin.post("/models/other/refresh", b"", headers=ADMIN).json()["champion"] == 1
    assert admin.post("/models/other/act", OBSERVATION).status_code == 200
    assert admin.post("/models/pong/refresh", b"", headers=ADMIN).status_code == 404


def test_damaged_version_is_not_promoted(admin: Server, store: ModelRepository) -> None:
    """Promoting a version whose file is damaged is 409; a failed refresh says why; the champion stays."""
    (store.root / "cartpole/2/model.onnx").write_bytes(b"damaged")
    response = put(admin, "/models/cartpole/aliases/champion", b'{"version": 2}')
    assert response.status_code == 409
    assert "differs from what was published" in response.json()["detail"]
    (store.root / "cartpole/aliases/champion").write_text("2\n")
    refreshed = admin.post("/models/cartpole/refresh", b"", headers=ADMIN).json()
    assert (refreshed["outcome"], refreshed["champion"]) == ("failed", 1)
    assert "differs from what was published" in refreshed["detail"]
    assert admin.get("/readyz").json()["version"] == 1
    pinned = admin.post("/act", {**OBSERVATION, "version": 2})
    assert (pinned.status_code, pinned.headers["content-type"]) == (503, MEDIA_TYPE)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/models/cartpole/aliases/champion", b'{"version": 9}', 404),
        ("/models/pong/aliases/champion", b'{"version": 1}', 404),
        ("/models/%2e%2e/aliases/champion", b'{"version": 1}', 404),
        ("/models/cartpole/aliases/Champion", b'{"version": 1}', 422),
        ("/models/cartpole/aliases/..%2f1", b'{"version": 1}', 404),
        ("/models/cartpole/aliases/champion", b'{"version": "1"}', 422),
        ("/models/cartpole/aliases/champion", b'{"version": 1.5}', 422),
        ("/models/cartpole/aliases/champion", b'{"version": true}', 422),
        ("/models/cartpole/aliases/champion", b'{"version": 0}', 422),
        ("/models/cartpole/aliases/champion", b'{"version": 1, "by": "me"}', 422),
        ("/models/cartpole/aliases/champion", b'{"version": ' + b"9" * 5000 + b"}", 422),
        ("/models/cartpole/aliases/champion", b"{}", 422),
        ("/models/cartpole/aliases/champion", b"[1]", 422),
        ("/models/cartpole/aliases/champion", b"", 400),
        ("/models/cartpole/aliases/champion", b'{"version":', 400),
        ("/models/cartpole/aliases/champion", b"\xff\xfe", 400),
        ("/models/cartpole/aliases/champion", b"[" * 90_000, 400),
        ("/models/cartpole/aliases/champion", b" " * 5_000_000, 413),
    ],
)
def test_wrong_promotions_change_nothing(
    server: Server, repository: ModelRepository, path: str, body: bytes, status: int
) -> None:
    """An impossible promotion gets a problem document with the documented status, and the aliases stay."""
    response = put(server, path, body)
    assert (response.status_code, response.headers["content-type"]) == (status, MEDIA_TYPE)
    assert repository.aliases("cartpole") == {"challenger": 2, "champion": 1}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"X-Api-Key": TOKEN},
    ],
)
def test_admin_calls_need_the_token(server: Server, repository: ModelRepository, headers: dict[str, str]) -> None:
    """Without the right bearer token both admin calls get 401 with a challenge, and change nothing."""
    for response in (
        put(server, "/models/cartpole/aliases/champion", b'{"version": 2}', headers),
        server.post("/models/cartpole/refresh", b"", headers=headers),
    ):
        assert (response.status_code, response.headers["content-type"]) == (401, MEDIA_TYPE)
        assert response.headers["www-authenticate"].startswith("Bearer")
    assert repository.alias("cartpole") == 1


def test_scheme_is_case_insensitive(server: Server) -> None:
    """`bearer` in lowercase is the same scheme (RFC 9110)."""
    response = server.post("/models/cartpole/refresh", b"", headers={"authorization": f"bearer {TOKEN}"})
    assert response.status_code == 200


def test_without_a_token_admin_calls_are_off(store: ModelRepository) -> None:
    """A server without DQN_API_TOKEN answers 403 to all admin calls, and everything else to everybody."""
    with running_server(store) as server:
        server.wait_ready()
        assert put(server, "/models/cartpole/aliases/champion", b'{"version": 2}').status_code == 403
        assert server.post("/models/cartpole/refresh", b"").status_code == 403
        assert server.post("/act", OBSERVATION).json()["version"] == 1


def test_required_token_closes_all_but_health(store: ModelRepository) -> None:
    """With DQN_REQUIRE_TOKEN every call but health needs the token, even unknown paths."""
    with running_server(store, env={"DQN_API_TOKEN": TOKEN, "DQN_REQUIRE_TOKEN": "true"}) as server:
        server.wait_ready()
        assert server.get("/healthz").status_code == 200
        for path in ("/metrics", "/models", "/models/cartpole", "/docs", "/openapi.json", "/nothing"):
            assert server.get(path).status_code == 401
        assert server.post("/act", OBSERVATION).status_code == 401
        assert server.post("/models/cartpole/act", OBSERVATION).status_code == 401
        assert server.post("/act", OBSERVATION, headers=ADMIN).json()["version"] == 1
        assert server.get("/metrics", headers=ADMIN).status_code == 200
