"""Correlation of a request with log lines and with its caller: `X-Request-ID` and W3C Trace Context's `traceparent`."""

import re
from collections.abc import Iterable
from random import getrandbits
from typing import NamedTuple

from dqn_serving.problems import Header

REQUEST_ID, TRACEPARENT = b"x-request-id", b"traceparent"
VARYING = frozenset({REQUEST_ID, TRACEPARENT, b"tracestate"})
"""Headers that a client may change with each request, and that do not change its meaning."""

_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


class Trace(NamedTuple):
    """The caller's span, as `traceparent` names it."""

    trace_id: str
    span_id: str
    flags: str


class RequestContext(NamedTuple):
    """The identifiers of one request."""

    request_id: str | None = None
    trace: Trace | None = None
    header_line: bytes = b""
    """The header line that returns the request id to the client; empty if there is none."""

    def with_request_id(self) -> "RequestContext":
        """The same with a request id, generated if none was sent; it need not be hard to guess."""
        return self if self.request_id else _context(f"{getrandbits(128):032x}", self.trace)

    def fields(self) -> dict[str, str]:
        """The fields of its log lines."""
        fields = {"request_id": self.request_id} if self.request_id else {}
        return fields | ({"trace_id": self.trace.trace_id, "span_id": self.trace.span_id} if self.trace else {})


EMPTY = RequestContext()


def read(headers: Iterable[Header]) -> RequestContext:
    """The context in headers (names in lowercase); a header that is invalid or repeated is ignored."""
    sent = [(name, value.strip()) for name, value in headers if name in VARYING]
    if not sent:
        return EMPTY
    request_ids = [value for name, value in sent if name == REQUEST_ID]
    traceparents = [value for name, value in sent if name == TRACEPARENT]
    is_valid = len(request_ids) == 1 and _REQUEST_ID.fullmatch(request_ids[0])
    trace = parse_traceparent(traceparents[0]) if len(traceparents) == 1 else None
    return _context(request_ids[0].decode("ascii") if is_valid else None, trace)


def parse_traceparent(value: bytes) -> Trace | None:
    """The caller's span, from a header of https://www.w3.org/TR/trace-context-1/; None if it is invalid."""
    found = _TRACEPARENT.fullmatch(value)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    is_unknown = version == b"ff" or (version == b"00" and more is not None)  # later versions may have more fields
    if is_unknown or not (int(trace_id, 16) and int(span_id, 16)):
        return None
    return Trace(trace_id.decode(), span_id.decode(), flags.decode())


def _context(request_id: str | None, trace: Trace | None) -> RequestContext:
    header_line = b"" if request_id is None else b"%b: %b\r\n" % (REQUEST_ID, request_id.encode())
    return RequestContext(request_id, trace, header_line)
