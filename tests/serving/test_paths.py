"""Methods and paths of all kinds: each gets the right status, whatever is in a name, and none reaches a file."""

import json

import pytest

from dqn_testing.server import Server
from tests.serving.connection import RIGHT, Connection, call

GET = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/models",
    "/models/cartpole",
    "/docs",
    "/openapi.json",
    "/v2",
    "/v2/health/live",
)
POST = ("/act", "/q-values", "/models/lake/act", "/v2/models/cartpole/infer", "/v2/repository/index")

NAMES = [
    *(
        "..",
        "%2e%2e",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%5c..%5c",
        "%00",
        "cartpole%00",
        "cartpole%0a",
        "cartpole%20",
    ),
    *(
        "%zz",
        "%",
        "%e",
        "%ff%fe",
        "%ed%a0%80",
        "k%C3%A4fer",
        "%F0%9F%92%A5",
        "a" * 3000,
        "CARTPOLE",
        "cartpole.",
        ".cartpole",
    ),
    *("*", "~root", "$HOME", "{model}", "'", "%27;--", "-1", "0x1", "aliases", "history.jsonl"),
]
VERSIONS = ["..", "%2e%2e%2f1", "0", "-1", "1.0", "01", "%201", "1%00", "9" * 30, "%E0%A5%A7", "champion%2f", "aliases"]
SLASHED = ["../1", "..%2f..%2fcartpole%2f1", "1/../2", "1/model.onnx", "%2e%2e%2faliases%2fchampion"]


@pytest.mark.parametrize("path", GET)
def test_head_is_get_without_its_body(server: Server, path: str) -> None:
    """HEAD is answered wherever GET is, with the same status and length."""
    got, head = server.get(path), server.request("HEAD", path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert int(head.headers["content-length"]) == len(got.content) or path == "/metrics"  # which has changed meanwhile


@pytest.mark.parametrize("path", [*GET, *POST])
def test_options_lists_the_methods(server: Server, path: str) -> None:
    """OPTIONS is answered with exactly the methods that the path allows."""
    told = server.request("OPTIONS", path)
    assert (told.status_code, told.content) == (204, b"")
    assert told.headers["allow"] == ("GET, HEAD, OPTIONS" if path in GET else "OPTIONS, POST")
    for method in ("DELETE", "PATCH", "TRACE", "PROPFIND", "POST" if path in GET else "GET"):
        refused = server.request(method, path)
        assert refused.status_code == 405
        assert set(refused.headers["allow"].split(", ")) <= set(told.headers["allow"].split(", "))


@pytest.mark.parametrize("request_line", [b"FOO /act", b"post /act", b"CONNECT x:80", b"GET act", b"GET /k\xc3\xa4fer"])
def test_what_is_not_a_request_is_refused(server: Server, request_line: bytes) -> None:
    """Unknown methods, lowercase methods, and targets that are not paths get a 400."""
    connection = Connection(server)
    connection.send(request_line + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.receive().status == 400
    assert connection.is_closed()
    connection.close()


@pytest.mark.parametrize("name", NAMES)
def test_unknown_models_are_not_found(server: Server, name: str) -> None:
    """Only existing models are found, in any call, and no name does harm."""
    for path in (f"/models/{name}", f"/models/{name}/versions/1", f"/v2/models/{name}", f"/v2/models/{name}/ready"):
        assert status(server, b"GET", path) == 404
    for path in (f"/models/{name}/act", f"/models/{name}/q-values", f"/v2/models/{name}/infer"):
        assert status(server, b"POST", path, RIGHT) == 404


@pytest.mark.parametrize("version", [*VERSIONS, *SLASHED])
def test_unknown_versions_are_not_found(server: Server, version: str) -> None:
    """Only existing versions are found, and no file but a version's manifest is read."""
    for path in (f"/models/cartpole/versions/{version}", f"/v2/models/cartpole/versions/{version}"):
        assert status(server, b"GET", path) == 404
    assert status(server, b"POST", f"/v2/models/cartpole/versions/{version}/infer", RIGHT) == 404


def status(server: Server, method: bytes, path: str, body: bytes = b"") -> int:
    """The status of the answer to a path that is sent as is: clients would normalize it."""
    connection = Connection(server)
    connection.send(call(body, b"Connection: close", path=path.encode()).replace(b"POST", method, 1))
    answer = connection.receive()
    connection.close()
    assert "root:" not in json.dumps(answer.document)
    return answer.status


@pytest.mark.parametrize("cut", [0, 30, 130, 170])
def test_upgrades_to_other_protocols_are_ignored(server: Server, cut: int) -> None:
    """What Java's client sends first, an offer of HTTP/2, is answered over HTTP/1.1, with its body, also in pieces."""
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAAB")
    request = call(RIGHT, *offer)
    connection = Connection(server)
    for piece in (request[:cut], request[cut:], request + call(RIGHT) + request):
        connection.send(piece)
    assert [connection.receive().document["action"] for _ in range(4)] == [1] * 4
    connection.send(call(RIGHT, *offer).replace(b"Connection: Upgrade", b"Connection: close, Upgrade"))
    answer = connection.receive()
    assert (answer.document["action"], answer.headers["connection"]) == (1, "close")
    assert connection.is_closed()
    connection.close()
