"""From HTTP to a stream: which requests ask for one, and how a connection is handed over."""

import sys
from typing import Any
from urllib.parse import unquote

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from dqn_serving.api.stream.connection import StreamConnection
from dqn_serving.api.stream.hub import Streams
from dqn_serving.http.ending import Limits
from dqn_serving.http.guard import GuardedProtocol
from dqn_serving.problems import CLOSE, Problem
from dqn_serving.security.access import Gate
from dqn_serving.telemetry import request_context
from dqn_serving.telemetry.request_context import Correlation

_CONNECTION = b"connection"
_OF_UPGRADES = frozenset({b"upgrade", b"http2-settings"})


class UpgradingProtocol(GuardedProtocol):
    """One connection, of HTTP until it becomes a stream. Any other upgrade is passed over, as HTTP allows."""

    def __init__(self, limits: Limits, streams: Streams, gate: Gate, **options: Any) -> None:
        """`options` are uvicorn's."""
        super().__init__(limits, **options)
        self._streams = streams
        self._gate = gate
        self._is_handed_over = False
        self._is_passed_over = False
        self._piece = b""  # of what the client sends

    def data_received(self, data: bytes) -> None:
        """Reads on."""
        self._piece = data
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Has a request answered, unless it must be read anew."""
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self._is_passed_over = self._get_upgrade() is not None and not self._should_upgrade()
        if not self._is_passed_over:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Ends a message, unless it must be read anew."""
        if not self._is_passed_over:
            super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Reads the request anew without the upgrade: the parser takes what follows such a head for no HTTP."""
        upgrade = sys.exception()
        if upgrade is None or not self._is_passed_over:
            return
        self._is_passed_over = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(self._plain_head() + self._piece[upgrade.args[0] :])

    def _plain_head(self) -> bytes:
        lines = [b"%b %b HTTP/1.1" % (self.scope["method"].encode(), self.url)]
        for name, value in self.headers:
            kept = value
            if name == _CONNECTION:
                kept = b", ".join(token for token in _tokens(value) if token.lower() not in _OF_UPGRADES)
            if name not in _OF_UPGRADES and (kept or not value):
                lines.append(b"%b: %b" % (name, kept))
        return b"\r\n".join([*lines, b"", b""])

    def _should_upgrade(self) -> bool:
        """Whether the request in the parser wants to become a stream, and nothing before it is unanswered."""
        is_wanted = self._get_upgrade() == b"websocket" and self.scope.get("method") == "GET"
        if not is_wanted or self._unanswered or self.flow.write_paused:
            return False
        url = httptools.parse_url(self.url)
        self.scope["path"] = unquote((url.path or b"").decode("latin-1"))
        self.scope["query_string"] = url.query or b""
        return self._streams.route(self.scope["path"]) is not None

    def handle_websocket_upgrade(self) -> None:
        """Hands the connection over to a stream."""
        route = self._streams.route(self.scope["path"])
        if route is None:  # never: it was asked for a moment ago
            return
        self._is_handed_over = True
        self.connections.discard(self)
        self._unset_keepalive_if_required()
        for timer in (self._reading_timer, self._writing_timer):
            if timer is not None:
                timer.cancel()
        scope: Scope = dict(self.scope)
        stream = StreamConnection(self._streams, route, self.connections, request_context.read(scope["headers"]))
        self.transport.set_protocol(stream)
        stream.connection_made(self.transport)
        task = self.loop.create_task(stream.open(scope, self._gate, self._refusal))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _wait_for_more(self, seconds: float) -> None:
        if not self._is_handed_over:
            super()._wait_for_more(seconds)

    def _refusal(self, problem: Problem, named: Correlation) -> bytes:
        """The response to who asked for a stream in vain."""
        options = [value for name, value in (*problem.headers, *CLOSE) if name == _CONNECTION]
        others = tuple(header for header in problem.headers if header[0] != _CONNECTION)
        problem.headers = (*others, (_CONNECTION, b", ".join(options)))
        answer = problem.answer()
        common = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        return b"".join([STATUS_LINE[answer.status], *common, named.echo, answer.wire])


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip() for token in value.split(b",")]
