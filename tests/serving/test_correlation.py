"""Request ids and traces: echoed, logged, and no way to inject text into the log or the response."""

import re
from collections.abc import Iterator

import httpx
import pytest

from dqn_models.repository import ModelRepository
from dqn_serving.telemetry import request_context
from dqn_testing.server import Server, running_server

ACT = {"observation": [0.1, 0.2, 0.3, 0.4]}
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
PATHS = ("/act", "/v2/models/cartpole/infer", "/models/lake/act", "/nothing")


@pytest.fixture(scope="module")
def logging(repository: ModelRepository) -> Iterator[Server]:
    """A server that logs every request."""
    with running_server(repository, access_log=True) as running:
        running.wait_ready()
        yield running


def post(server: Server, path: str, headers: dict[str, str]) -> httpx.Response:
    """One call; all but the first of PATHS are answered with an error."""
    return server.post(path, ACT, headers=headers)


@pytest.mark.parametrize("path", PATHS)
def test_id_that_was_sent_comes_back(server: Server, path: str) -> None:
    """A valid X-Request-ID is returned with every answer, on either path; each answer has its own."""
    for request_id in ("a", "b-1", "~!#$/:{}\"\\'", "x" * 128):
        response = post(server, path, {"X-REQUEST-id": request_id})
        assert response.headers.get_list("x-request-id") == [request_id]


@pytest.mark.parametrize("sent", ["", "x" * 129, "two words", "tab\there", "é"])
def test_id_that_is_not_valid_is_ignored(server: Server, sent: str) -> None:
    """An invalid id is not returned: a successful answer then has none, and an error has a generated one."""
    headers = httpx.Headers([(b"X-Request-ID", sent.encode("latin-1"))])
    assert "x-request-id" not in server.post("/act", ACT, headers=headers).headers
    error = server.post("/nothing", ACT, headers=headers)
    assert re.fullmatch("[0-9a-f]{32}", error.headers["x-request-id"])


def test_errors_have_an_id(server: Server) -> None:
    """Every error has an id to refer to; a successful answer has none, and costs nothing."""
    huge = {"observation": [0, 3e38, 3e38, 3e38]}  # whose Q-values overflow: an error on the fast path
    ids = {server.post("/act", body).headers["x-request-id"] for body in (b"{", huge, b"{", huge)}
    assert len(ids) == 4
    assert server.post("/act", huge).status_code == 422
    assert "x-request-id" not in server.post("/act", ACT).headers
    assert "x-request-id" not in server.get("/healthz").headers


@pytest.mark.parametrize("path", PATHS)
def test_log_lines_have_id_and_trace(logging: Server, path: str) -> None:
    """The line of a request has the id that the client knows and the caller's trace."""
    with_trace = post(logging, path, {"X-Request-ID": f"id of {path}".replace(" ", "-"), "traceparent": TRACEPARENT})
    line = logging.wait_log("request", request_id=with_trace.headers["x-request-id"])
    assert (line["path"], line["trace_id"], line["span_id"]) == (path, TRACE, SPAN)
    made = post(logging, path, {"traceparent": "wrong"})
    line = logging.wait_log("request", request_id=made.headers["x-request-id"])
    assert (line["path"], "trace_id" in line) == (path, False)


def test_lines_of_admin_calls_have_the_id(server: Server) -> None:
    """Log lines of a call have its id; the caller is named."""
    headers = {"Authorization": "Bearer battery-staple", "X-Request-ID": "refresh-1"}
    assert server.post("/models/cartpole/refresh", b"", headers=headers).status_code == 200
    assert server.wait_log("refresh requested", request_id="refresh-1")["by"] == "alice"


@pytest.mark.parametrize(
    ("value", "is_valid"),
    [
        (TRACEPARENT, True),
        (f"cc-{TRACE}-{SPAN}-00-more", True),
        (f"cc-{TRACE}-{SPAN}-00", True),
        (f"cc-{TRACE}-{SPAN}-00more", False),
        (f"00-{TRACE}-{SPAN}-01-more", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"00-{TRACE[1:]}-{SPAN}-01", False),
        (f"00-{TRACE}-{SPAN}", False),
        ("", False),
    ],
)
def test_traceparent(value: str, *, is_valid: bool) -> None:
    """Validity follows W3C Trace Context: future versions may have more fields, version 00 may not."""
    found = request_context.parse_traceparent(value.encode())
    assert (found is not None) == is_valid
    if found is not None:
        assert (found.trace_id, found.span_id) == (TRACE, SPAN)


def test_repeated_header_is_ignored() -> None:
    """It is impossible to know which of the two is meant."""
    twice = [(b"x-request-id", b"a"), (b"x-request-id", b"b"), (b"traceparent", TRACEPARENT.encode())]
    assert request_context.read(twice)[:2] == (None, request_context.Trace(TRACE, SPAN, "01"))
    assert request_context.read([*twice[2:], *twice[2:]]) == request_context.EMPTY


def test_every_answer_has_the_security_headers(server: Server) -> None:
    """No sniffing, no referrer, no caching: for actions, documents and errors alike."""
    for response in (
        post(server, "/act", {}),
        server.get("/openapi.json"),
        server.get("/nothing"),
        server.get("/docs"),
    ):
        assert response.headers.get_list("x-content-type-options") == ["nosniff"]
        assert response.headers.get_list("referrer-policy") == ["no-referrer"]
        assert response.headers.get_list("cache-control") == ["no-store"]
