"""A cache of parsed request heads, by their bytes: a client sends the same head again and again."""

import re
from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

import httptools
from starlette.types import Scope

from dqn_serving.problems import Answer
from dqn_serving.telemetry import request_context
from dqn_serving.telemetry.metrics import EndpointMeasures
from dqn_serving.telemetry.request_context import RequestContext

MAX_URL_BYTES = 8 * 1024
MAX_HEAD_BYTES = 64 * 1024
MAX_FIELDS = 128
_MAX_REMEMBERED = 1024
_MAX_REMEMBERED_SIZE = 2048  # bytes
_DISQUALIFYING = frozenset({b"expect", b"transfer-encoding", b"upgrade"})
# Whole lines, not followed by whitespace, which would continue them, or by a bare line ending.
_VARYING = re.compile(rb"\r\n((?i:%b)): *([\x20-\x7e]*)(?=\r\n[^ \t])" % b"|".join(sorted(request_context.VARYING)))


class FastRoute(Protocol):
    """A call that the fast path may take."""

    @property
    def measures(self) -> EndpointMeasures:
        """The metrics of its endpoint."""

    @property
    def refusal(self) -> Answer:
        """The response if the server is overloaded."""

    def begin(self, scope: Scope, body: bytes, deliver: Callable[[Answer], None], /) -> bool:
        """Accepts a valid request that can be answered without waiting; `deliver` gets the answer within this turn.

        False, having done nothing, if it cannot: the framework's routes then get the request.
        """


class Head(NamedTuple):
    """The head of a `POST` to a fast route, with a declared body length, on a connection that stays open."""

    route: FastRoute
    scope: Scope
    length: int
    """Of the body, in bytes; at least 1."""
    context: RequestContext = request_context.EMPTY


class RequestHeadCache:
    """Reads heads with the parser that reads everything else, and remembers a bounded number of them."""

    def __init__(
        self, find_route: Callable[[str], FastRoute | None], max_body_bytes: int, *, origins: Collection[str] = ()
    ) -> None:
        """`find_route` looks up the call of a path; where `origins` may call, a browser's calls are not plain."""
        self._find_route = find_route
        self._disqualifying = _DISQUALIFYING | ({b"origin"} if origins else set())
        self._max_body_bytes = max_body_bytes
        self._known: dict[bytes, Head | None] = {}

    def read(self, head: bytes) -> Head | None:
        """The contents of a head, which ends with an empty line; None if it is not a plain call."""
        try:
            return self._known[head]
        except KeyError:
            stem, *varying = _VARYING.split(head)
        if not varying:
            return self._remember(head)
        stem = b"".join([stem, *varying[2::3]])
        found = self._known[stem] if stem in self._known else self._remember(stem)
        if found is None:
            return None
        if found.context is not request_context.EMPTY:  # another of these headers, in an unusual form
            return self._parse(head)
        names = [name.lower() for name in varying[::3]]
        return found._replace(context=request_context.read(zip(names, varying[1::3], strict=True)))

    def _remember(self, head: bytes) -> Head | None:
        found = self._parse(head)
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        if len(head) <= _MAX_REMEMBERED_SIZE:
            self._known[head] = found
        return found

    def _parse(self, head: bytes) -> Head | None:
        seen = _HeadCollector()
        parser = httptools.HttpRequestParser(seen)
        try:
            parser.feed_data(head)
            is_plain = seen.is_one_head and parser.get_method() == b"POST" and parser.get_http_version() == "1.1"
            path = httptools.parse_url(seen.url).path.decode("ascii")
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, AttributeError, UnicodeDecodeError):
            return None
        lengths = [int(value) for name, value in seen.headers if name == b"content-length"]
        has_body = len(lengths) == 1 and 0 < lengths[0] <= self._max_body_bytes
        route = self._find_route(path) if is_plain and "%" not in path and has_body else None
        is_long = len(head) > MAX_HEAD_BYTES or len(seen.headers) > MAX_FIELDS or len(seen.url) > MAX_URL_BYTES
        if route is None or is_long or any(self._disqualifies(name, value) for name, value in seen.headers):
            return None
        scope: Scope = {"type": "http", "method": "POST", "path": path, "headers": seen.headers}
        return Head(route, scope, lengths[0], request_context.read(seen.headers))

    def _disqualifies(self, name: bytes, value: bytes) -> bool:
        return name in self._disqualifying or (name == b"connection" and value.lower() != b"keep-alive")


class _HeadCollector:
    """Collects what the parser finds."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_one_head = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.is_one_head = True

    def on_body(self, _body: bytes) -> None:
        self.is_one_head = False
