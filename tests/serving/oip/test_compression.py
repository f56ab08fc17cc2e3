"""Compressed bodies in both directions, and the cost of a body that inflates endlessly."""

import gzip
import json
import zlib
from collections.abc import Callable

import pytest

from dqn_serving.api.oip.framing import inflate
from dqn_testing.server import Server
from tests.serving.oip.test_infer import ROWS
from tests.serving.oip.wire import binary_request, read, send, tensor

BODY = json.dumps({"inputs": [tensor()]}).encode()


def gzipped(body: bytes) -> bytes:
    """The same bytes every time, since they are part of the tests' names, on which all test workers must agree."""
    return gzip.compress(body, mtime=0)


def raw_deflate(body: bytes) -> bytes:
    """Deflate without zlib's header, as some clients send it."""
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(body) + deflater.flush()


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
    ],
)
def test_compressed_requests(server: Server, encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """A compressed body is read like a plain one, also with binary tensors: the length is that of the inflated JSON."""
    assert send(server, compress(BODY), content_encoding=encoding).status_code == 200
    body, length = binary_request(ROWS)
    assert read(send(server, compress(body), length=length, content_encoding=encoding))[1]["action"].shape == (5,)
    index = server.post("/v2/repository/index", compress(b'{"ready": true}'), headers={"content-encoding": encoding})
    assert index.status_code == 200


@pytest.mark.parametrize(
    ("encoding", "body", "status", "error"),
    [
        ("br", BODY, 415, "Content-Encoding is 'br'"),
        ("gzip, gzip", gzipped(gzipped(BODY)), 415, "Content-Encoding is 'gzip, gzip'"),
        ("gzip", BODY, 400, "The body is not gzip"),
        ("deflate", BODY, 400, "The body is not deflate"),
        ("gzip", b"", 400, "ends too early"),
        ("deflate", b"", 400, "ends too early"),
        ("gzip", gzipped(BODY)[:-4], 400, "ends too early"),
        ("gzip", gzipped(BODY) + b"more", 400, "continues after its end"),
        ("gzip", gzipped(BODY) + gzipped(BODY), 400, "continues after its end"),
        ("gzip", gzipped(b" " * 100_001), 413, "inflated body is larger than the 100000 bytes"),
        ("deflate", zlib.compress(b" " * 50_000_000), 413, "inflated body is larger than the 100000 bytes"),
    ],
)
def test_faulty_encodings(server: Server, encoding: str, body: bytes, status: int, error: str) -> None:
    """A body that does not inflate, or inflates to more than is allowed, is refused with a sentence."""
    response = send(server, body, content_encoding=encoding)
    assert response.status_code == status, response.text
    assert error in response.json()["error"]


def test_a_bomb_costs_no_memory(server: Server) -> None:
    """Bodies that would inflate to 90 MB each do not raise the server's peak memory."""
    bomb = zlib.compress(b"\0" * 90_000_000, 9)
    assert len(bomb) < 100_000
    before = peak_kib(server)
    for _ in range(5):
        assert send(server, bomb, content_encoding="deflate").status_code == 413
    assert peak_kib(server) - before < 20_000


def peak_kib(server: Server) -> int:
    """The peak resident memory of the process."""
    with open(f"/proc/{server.process.pid}/status") as status:  # noqa: PTH123  (a pseudo file)
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def test_a_body_of_the_limit_is_inflated() -> None:
    """A body of exactly the limit passes once inflated; one byte more is refused."""
    headers = {b"content-encoding": b"gzip"}
    assert inflate(gzipped(b"x" * 1_000), headers, 1_000) == b"x" * 1_000
    with pytest.raises(Exception, match="larger than the 999 bytes"):
        inflate(gzipped(b"x" * 1_000), headers, 999)


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate", "gzip"),
        ("gzip;q=0.5, deflate;q=0.8", "deflate"),
        ("GZip ; q=1.0", "gzip"),
        ("*", "gzip"),
        ("br, *;q=0.1", "gzip"),
        ("gzip;q=0, *", "deflate"),
        ("br", None),
        ("identity", None),
        ("gzip;q=0", None),
        ("gzip;q=wrong", None),
        ("", None),
    ],
)
def test_compressed_answers(server: Server, accepted: str, encoding: str | None) -> None:
    """An answer is compressed in the encoding that the client prefers, and only if it asks for one."""
    for binary in (True, False):
        body = {"inputs": [tensor()], "parameters": {"binary_data_output": binary}}
        response = send(server, body, accept_encoding=accepted)
        assert response.headers.get("content-encoding") == encoding
        _, outputs = read(response)  # inflated by the client
        assert outputs["action"].tolist() == [1]


def test_errors_are_never_compressed(server: Server) -> None:
    """Clients read errors uninflated: tritonclient's asyncio client does."""
    response = send(server, b"{", accept_encoding="gzip")
    assert "content-encoding" not in response.headers
    assert "error" in response.json()
