"""No body may cause a 500 or stop the server; each fault has its documented status and says what is wrong."""

import json
import socket

import pytest

from dqn_models.repository import ModelRepository
from dqn_serving.problems import MEDIA_TYPE
from dqn_testing.server import Server
from tests.serving.bodies import MALFORMED, WRONG_OBSERVATIONS

GOOD = {"observation": [0.1, 0.2, 0.3, 0.4]}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_body_gets_its_problem_document(server: Server, name: str) -> None:
    """Every malformed body is answered with the documented status and an RFC 9457 document that explains it."""
    body, status, detail, path = MALFORMED[name]
    response = server.post(path, body)
    problem = response.json()
    assert (response.status_code, response.headers["content-type"]) == (status, MEDIA_TYPE)
    assert problem["status"] == status
    assert detail in problem["detail"]
    assert len(problem["detail"]) < 400


def test_q_values_refuse_what_act_refuses(server: Server) -> None:
    """/q-values refuses every body that /act refuses, in the same way."""
    for body, status, detail, path in WRONG_OBSERVATIONS.values():
        response = server.post(path.replace("act", "q-values"), body)
        assert response.status_code == status
        assert detail in response.json()["detail"]


def test_refusals_are_counted_by_reason(server: Server, repository: ModelRepository) -> None:
    """A refused observation shows in the metrics under its model and reason."""
    assert repository.models() == ["cartpole", "lake"]
    before = server.metric("dqn_observations_rejected_total", model="lake", reason="out_of_range")
    server.post("/models/lake/act", {"observation": 99})
    assert server.metric("dqn_observations_rejected_total", model="lake", reason="out_of_range") == before + 1


def test_server_continues_after_all_of_them(server: Server) -> None:
    """After the whole table the server still answers, and has logged no internal error."""
    assert server.post("/act", GOOD).json() == {"action": 1, "model": "cartpole", "version": 1}
    assert server.metric("dqn_requests_total", status="500") == 0
    assert not [record for record in server.records if record.get("level") == "error"]


def test_greatest_float32_is_accepted(server: Server) -> None:
    """The largest float32, as NumPy prints it, is a valid element although it is above the exact bound."""
    response = server.post("/act", b'{"observation": [3.4028235e38, 0, 0, 0]}')
    assert response.status_code == 200


def test_body_without_a_length_is_limited_while_it_is_read(server: Server) -> None:
    """A chunked body is refused as soon as it is too long; the server does not wait for its end."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"POST /act HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"%x\r\n%s\r\n" % (50_000, b" " * 50_000)
        connection.sendall(chunk * 3)
        head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 ")
        assert json.loads(body or connection.recv(65536))["status"] == 413


def test_declared_length_is_refused_before_the_body_is_sent(server: Server) -> None:
    """A client that asks first (Expect: 100-continue) gets 413 without sending its body."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = b"POST /act HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(head)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
