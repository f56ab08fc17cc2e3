"""How headers frame a body, in both directions: its content coding, and where JSON ends and binary tensors begin."""

import zlib
from collections.abc import Iterable

from starlette.types import Scope

from dqn_serving.problems import Header, Problem

LENGTH = b"inference-header-content-length"

Headers = dict[bytes, bytes]

_READ = frozenset({LENGTH, b"content-encoding", b"accept-encoding"})
_MAX_DIGITS = 18
_GZIP, _ZLIB, _RAW_DEFLATE = 31, 15, -15  # zlib's `wbits`
_FAST = 1


def collect(scope: Scope) -> Headers:
    """The headers that matter here, without surrounding whitespace; repeated ones are joined as HTTP prescribes."""
    headers: Headers = {}
    for name, value in scope["headers"]:
        if name in _READ:
            headers[name] = headers[name] + b", " + value.strip() if name in headers else value.strip()
    return headers


def split(body: bytes, headers: Headers) -> tuple[memoryview, memoryview]:
    """The JSON of a body and the raw tensors after it; only Inference-Header-Content-Length says where they begin.

    Raises Problem (400).
    """
    view = memoryview(body)
    text = headers.get(LENGTH)
    if text is None:
        return view, view[len(view) :]
    if not text.isdigit() or len(text) > _MAX_DIGITS or int(text) > len(body):
        found = text[:40].decode("latin-1")
        detail = f"Inference-Header-Content-Length is {found!r}; expected a number of bytes, at most {len(body)}."
        raise Problem(400, detail, reason="not_json")
    length = int(text)
    return view[:length], view[length:]


def inflate(body: bytes, headers: Headers, limit: int) -> bytes:
    """The body without its Content-Encoding; never more than `limit` bytes are produced.

    Raises Problem: 413 if it would be larger, 415 for an unknown encoding, 400 if it does not decode.
    """
    encoding = headers.get(b"content-encoding", b"").decode("latin-1").lower()
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        detail = f"Content-Encoding is {encoding[:40]!r}; allowed are gzip and deflate."
        raise Problem(415, detail, reason="encoding", headers=((b"accept-encoding", b"gzip, deflate"),))
    inflater = zlib.decompressobj(_deflate_kind(body) if encoding == "deflate" else _GZIP)
    try:
        inflated = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise Problem(400, f"The body is not {encoding}: {error}.", reason="encoding") from None
    if len(inflated) > limit:
        detail = f"The inflated body is larger than the {limit} bytes allowed (DQN_MAX_BODY_BYTES)."
        raise Problem(413, detail, reason="too_large")
    if not inflater.eof or inflater.unused_data:
        found = "continues after its end" if inflater.eof else "ends too early"
        raise Problem(400, f"The {encoding} body {found}.", reason="encoding")
    return inflated


def _deflate_kind(body: bytes) -> int:
    """The `wbits` of a deflate body: HTTP means zlib's format, but some clients omit zlib's two-byte header."""
    has_header = len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    return _ZLIB if has_header else _RAW_DEFLATE


def deflate(body: bytes, headers: Headers) -> tuple[bytes, tuple[Header, ...]]:
    """The body in the encoding that the client prefers, and the headers that declare it; unchanged if it names none."""
    accept = headers.get(b"accept-encoding")
    if not accept:
        return body, ()
    accepted = dict(_weights(accept.decode("latin-1").lower().split(",")))
    weights = {name: accepted.get(name, accepted.get("*", 0.0)) for name in ("gzip", "deflate")}
    name = max(weights, key=lambda each: weights[each])  # gzip if the weights are equal
    if weights[name] <= 0:
        return body, ()
    deflater = zlib.compressobj(_FAST, zlib.DEFLATED, _GZIP if name == "gzip" else _ZLIB)
    encoded = deflater.compress(body) + deflater.flush()
    return encoded, ((b"content-encoding", name.encode()), (b"vary", b"accept-encoding"))


def _weights(items: Iterable[str]) -> Iterable[tuple[str, float]]:
    """Encodings and their weights; an unreadable weight is 0."""
    for item in items:
        name, *parameters = (part.strip() for part in item.split(";"))
        weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            yield name, float(weight)
        except ValueError:
            yield name, 0.0
