"""Which requests take the fast path: plain act calls on a connection that stays open."""

from pathlib import Path

import pytest

from dqn_serving.app import Server
from dqn_serving.http import head_cache
from dqn_serving.http.head_cache import RequestHeadCache
from dqn_serving.services import Services
from dqn_serving.settings import read_settings

PLAIN = b"POST /act HTTP/1.1\r\nHost: x\r\nContent-Length: 37\r\n\r\n"


@pytest.fixture
def reader(tmp_path: Path) -> RequestHeadCache:
    """Reads heads for a server that takes bodies of up to 1,024 bytes."""
    services = Services(read_settings(["--repository", str(tmp_path), "--max-body-bytes", "1024"]))
    return Server(services).connection_parts().heads


@pytest.mark.parametrize(
    ("head", "template"),
    [
        (PLAIN, "/act"),
        (PLAIN.replace(b"/act", b"/q-values?trace=1"), "/q-values"),
        (PLAIN.replace(b"/act", b"/models/lake/act"), "/models/{model}/act"),
        (PLAIN.replace(b"/act", b"/v2/models/lake/infer"), "/v2/models/{model}/infer"),
        (PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: Keep-Alive\r\nAccept: */*\r\n\r\n"), "/act"),
    ],
)
def test_plain_calls_take_it(reader: RequestHeadCache, head: bytes, template: str) -> None:
    """What common clients send is recognized, the second time as well as the first."""
    for _ in range(2):
        found = reader.read(head)
        assert found is not None
        assert (found.route.measures.template, found.length) == (template, 37)
        assert (b"host", b"x") in found.scope["headers"]


@pytest.mark.parametrize(
    "head",
    [
        PLAIN.replace(b"POST", b"PUT"),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN.replace(b"/act", b"/ac%74"),
        PLAIN.replace(b"/act", b"/healthz"),
        PLAIN.replace(b"/act", b"/v2/models/lake/versions/1/infer"),
        PLAIN.replace(b"/act", b"/v2/repository/index"),
        PLAIN.replace(b"37", b"0"),
        PLAIN.replace(b"37", b"1025"),
        PLAIN.replace(b"37", b"9" * 40),
        PLAIN.replace(b"37", b"-1"),
        PLAIN.replace(b"Content-Length: 37", b"Accept: */*"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nContent-Length: 37\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nBad Name: 1\r\n\r\n"),
        PLAIN.replace(b"\r\n", b"\n") + b"x\r\n\r\n",
        PLAIN + PLAIN,
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_anything_else_does_not(reader: RequestHeadCache, head: bytes) -> None:
    """Everything else is left to uvicorn, the second time as well as the first."""
    assert reader.read(head) is None
    assert reader.read(head) is None


def test_memory_is_bounded(reader: RequestHeadCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads that never return, and long ones, do not accumulate in memory."""
    monkeypatch.setattr(head_cache, "_MAX_REMEMBERED", 10)
    for number in range(100):
        assert reader.read(PLAIN.replace(b"Host: x", b"Host: %d" % number)) is not None
        assert len(reader._known) <= 10
    kept = len(reader._known)
    assert reader.read(PLAIN.replace(b"Host: x", b"Host: " + b"x" * 3000)) is not None
    assert len(reader._known) <= kept


def test_ids_and_traces_are_not_remembered(reader: RequestHeadCache) -> None:
    """Headers that change with each request do not fill the memory, and are read as the parser reads them."""
    for number in range(100):
        lines = b"\r\nX-REQUEST-ID: %d \r\nAccept: */*\r\ntracestate: a=b, c=d\r\n\r\n" % number
        found = reader.read(PLAIN.replace(b"\r\n\r\n", lines))
        assert found is not None
        assert (found.length, found.context.request_id) == (37, str(number))
        assert {name for name, _ in found.scope["headers"]} == {b"host", b"content-length", b"accept"}
    assert len(reader._known) == 1


@pytest.mark.parametrize(
    "more", [b"\r\n continued", b"\r\n\tcontinued", b"\r\nX-Request-ID: 2", b" \x01", b"\t1", b"\r\nX-Request-ID: \xff"]
)
def test_unusual_ids(reader: RequestHeadCache, more: bytes) -> None:
    """An id on a continued or repeated line is ignored; others are read as usual."""
    head = PLAIN.replace(b"\r\n\r\n", b"\r\nX-Request-ID: 1%b\r\nAccept: */*\r\n\r\n" % more)
    for _ in range(2):
        found = reader.read(head)
        assert found is None or found.context.request_id is None
