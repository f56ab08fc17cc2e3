"""Opening a stream: what may be requested, and how it is refused."""

import contextlib
from http.client import HTTPConnection

import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.fixtures import TOKEN
from dqn_testing.repositories import publish_linear
from dqn_testing.server import Server, running_server
from tests.serving.connection import Connection
from tests.serving.stream.client import MSGPACK, RIGHT, refusal, stream

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("path", "status", "part"),
    [
        ("/act/stream?pin=yes", 422, "pin is 'yes'; expected true or false"),
        ("/act/stream?q_values=", 422, "q_values is ''"),
        ("/act/stream?colour=red", 422, "unknown parameter 'colour'; allowed are pin, version, q_values"),
        ("/act/stream?pin=true&pin=false", 422, "more than once"),
        ("/act/stream?pin", 422, "cannot be read"),
        ("/act/stream?version=", 422, "version is ''"),
        ("/act/stream?version=99", 404, "99"),
        ("/act/stream?version=nobody", 404, "no alias 'nobody'; aliases are: challenger, champion"),
        ("/models/nothing/act/stream", 404, "no model 'nothing'"),
        ("/models/%2e%2e/act/stream", 404, "no model '..'"),
    ],
)
def test_invalid_requests_are_refused(server: Server, path: str, status: int, part: str) -> None:
    """An invalid query, model or version is refused with a problem document that says what is expected."""
    document = refusal(server, path)
    assert document["status"] == status
    assert part in document["detail"]


def test_unknown_subprotocols_are_refused(server: Server) -> None:
    """A client that offers only unknown subprotocols is given the list of supported ones."""
    document = refusal(server, "/act/stream", "chat", "mqtt")
    assert document["status"] == 400
    assert "'chat, mqtt'" in document["detail"]
    assert "dqn.json, dqn.msgpack" in document["detail"]


def test_plain_http_is_told_to_upgrade(server: Server) -> None:
    """GET without an upgrade is 426 with the Upgrade header, any other method 405."""
    for path in ("/act/stream", "/models/cartpole/act/stream"):
        response = server.get(path)
        assert (response.status_code, response.headers["upgrade"]) == (426, "websocket")
        assert response.headers["content-type"] == "application/problem+json"
        assert server.post(path, b"{}").status_code == 405


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Sec-WebSocket-Version": "12"}, 426),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Key": ""}, 400),
        ({"Upgrade": "h2c"}, 426),
        ({"Connection": "keep-alive"}, 426),
    ],
)
def test_wrong_handshakes(server: Server, changes: dict[str, str], status: int) -> None:
    """A handshake that violates RFC 6455 is refused, and the server continues."""
    fields = {"Host": "x", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    fields |= {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} | changes
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    with contextlib.closing(Connection(server)) as connection:
        connection.send(f"GET /act/stream HTTP/1.1\r\n{lines}\r\n".encode())
        answer = connection.receive()
        assert answer.status == answer.document["status"] == status
        assert status != 426 or answer.headers["upgrade"] == "websocket"
    assert server.get("/healthz").status_code == 200


def test_other_upgrades_are_ignored(server: Server) -> None:
    """An upgrade of another path, or to another protocol, is answered as an ordinary request."""
    host, port = server.url.removeprefix("http://").split(":")
    for path, protocol in (("/healthz", "websocket"), ("/healthz", "h2c")):
        connection = HTTPConnection(host, int(port), timeout=20)
        connection.request("GET", path, headers={"Upgrade": protocol, "Connection": "Upgrade"})
        assert connection.getresponse().status == 200
        connection.close()


def test_pages_of_other_origins_are_refused(server: Server) -> None:
    """A web page may connect only to the server that it comes from."""
    document = refusal(server, "/act/stream", Origin="https://example.com")
    assert document["status"] == 403
    assert "https://example.com" in document["detail"]
    with stream(server, Origin=server.url) as client:
        assert client.ask(observation=RIGHT)["action"] == 1


def test_origins_can_be_allowed(empty: ModelRepository) -> None:
    """Pages of the origins in DQN_CORS_ORIGINS may also connect."""
    publish_linear(empty, promote=True)
    with running_server(empty, cors_origins="https://lab.example") as server:
        server.wait_ready()
        with stream(server, Origin="https://lab.example") as client:
            assert client.ask(observation=RIGHT)["action"] == 1
        assert refusal(server, "/act/stream", Origin="https://other.example")["status"] == 403


def test_the_token_is_required(empty: ModelRepository) -> None:
    """With DQN_REQUIRE_TOKEN a stream needs the token, too; a server without a champion is not ready."""
    with running_server(empty, env={"DQN_API_TOKEN": TOKEN}, require_token=True) as server:
        assert refusal(server, "/act/stream")["status"] == 401
        assert refusal(server, "/act/stream", Authorization=f"Bearer {TOKEN}")["status"] == 503
        publish_linear(empty, promote=True)
        server.wait_log("refreshed")
        with stream(server, "/act/stream", MSGPACK, Authorization=f"Bearer {TOKEN}") as client:
            assert client.ask(observation=RIGHT)["action"] == 1


def test_request_id_is_the_clients(empty: ModelRepository) -> None:
    """A stream's log lines have the request id of its handshake."""
    publish_linear(empty, promote=True)
    with running_server(empty, access_log=True) as server:
        server.wait_ready()
        with stream(server, X_Request_ID="robot-7") as client:
            response = client.connection.response
            assert response is not None
            assert response.headers["X-Request-ID"] == "robot-7"
            client.ask(observation=RIGHT)
        assert server.wait_log("request", status=101)["request_id"] == "robot-7"
        assert server.wait_log("request", status=200, path="/act/stream")["request_id"] == "robot-7"
