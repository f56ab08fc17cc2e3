"""What all connections of a server share: settings, admission, request log, routes and the cache of heads."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from dqn_serving.http.head_cache import RequestHeadCache
from dqn_serving.inference.admission import Admission
from dqn_serving.problems import Answer, Header, Problem
from dqn_serving.security.auth import Access
from dqn_serving.settings import ServerSettings
from dqn_serving.telemetry.metrics import EndpointMeasures
from dqn_serving.telemetry.request_log import RequestLog


@dataclass(slots=True)
class ConnectionParts:
    """The shared parts."""

    settings: ServerSettings
    access: Access
    admission: Admission
    request_log: RequestLog
    measures: EndpointMeasures
    """Of requests that reach no endpoint."""
    flush: Callable[[], None]
    """Immediately answers the calls that wait for the end of the turn."""
    heads: RequestHeadCache
    render_problem: Callable[[str, Problem], Answer]
    """The response with a problem, in the form of the path's API."""
    open_stream: Callable[[str], Callable[..., Any] | None]
    """The factory of streams at a path; None if the path has none."""
    held_bytes: int = 0
    """Bytes of fast-path requests that have not arrived completely."""
    _common_headers: list[Header] = field(default_factory=list)
    _openings: dict[int, bytes] = field(default_factory=dict)

    def opening(self, status: int, common_headers: list[Header]) -> bytes:
        """The status line and the headers of every answer; uvicorn replaces these each second, for the date."""
        if common_headers is not self._common_headers:
            self._common_headers, self._openings = common_headers, {}
        if status not in self._openings:
            lines = (b"%b: %b\r\n" % header for header in common_headers)
            self._openings[status] = b"".join([STATUS_LINE[status], *lines])
        return self._openings[status]
