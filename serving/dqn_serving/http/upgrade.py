"""Upgrades from HTTP to a stream: which requests ask for one, and how the connection is handed over."""

import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import httptools
from typing_extensions import override

from dqn_serving.http.connection import LimitedProtocol
from dqn_serving.http.parts import ConnectionParts
from dqn_serving.problems import CLOSE, Problem
from dqn_serving.telemetry import request_context
from dqn_serving.telemetry.request_context import RequestContext

_OF_UPGRADES = frozenset({b"connection", b"upgrade", b"http2-settings"})


class UpgradingProtocol(LimitedProtocol):
    """One connection, which speaks HTTP until it becomes a stream. Any other upgrade is ignored, as HTTP allows."""

    def __init__(self, parts: ConnectionParts, **options: Any) -> None:
        super().__init__(parts, **options)
        self._is_ignored = False
        self._make_stream: Callable[..., Any] | None = None
        self._piece = b""  # the latest bytes from the client

    @override
    def data_received(self, data: bytes) -> None:
        self._piece = data
        super().data_received(data)

    @override
    def on_headers_complete(self) -> None:
        """Starts to answer a request, unless it must be read again."""
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self._is_ignored = self._get_upgrade() is not None and not self._should_upgrade()
        if not self._is_ignored:
            super().on_headers_complete()

    @override
    def on_message_complete(self) -> None:
        """Ends a message, unless it must be read again."""
        if not self._is_ignored:
            super().on_message_complete()

    @override
    def _unsupported_upgrade_warning(self) -> None:
        """Reads the request again without the upgrade: after such a head the parser expects another protocol."""
        upgrade = sys.exception()
        if upgrade is None or not self._is_ignored:
            return
        self._is_ignored = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(self._plain_head() + self._piece[upgrade.args[0] :])

    def _plain_head(self) -> bytes:
        options = b",".join(value.lower() for name, value in self.headers if name == b"connection").split(b",")
        end = CLOSE if b"close" in [option.strip() for option in options] else ()
        kept = [header for header in self.headers if header[0] not in _OF_UPGRADES]
        lines = [b"%b: %b" % header for header in (*kept, *end)]
        return b"\r\n".join([b"%b %b HTTP/1.1" % (self.scope["method"].encode(), self.url), *lines, b"", b""])

    def _should_upgrade(self) -> bool:
        """Whether the request in the parser asks for a stream, and everything before it is answered."""
        is_wanted = self._get_upgrade() == b"websocket" and self.scope.get("method") == "GET"
        if not is_wanted or self._unanswered or self.flow.write_paused:
            return False
        url = httptools.parse_url(self.url)
        self.scope["path"] = unquote((url.path or b"").decode("latin-1"))
        self.scope["query_string"] = url.query or b""
        self._make_stream = self._parts.open_stream(self.scope["path"])
        return self._make_stream is not None

    @override
    def handle_websocket_upgrade(self) -> None:
        """Hands the connection over to a stream."""
        if self._make_stream is None:  # never: `_should_upgrade` has just found it
            return
        self.connections.discard(self)
        self._cancel_timers()
        stream = self._make_stream(self.connections, request_context.read(self.scope["headers"]))
        self.transport.set_protocol(stream)
        stream.connection_made(self.transport)
        task = self.loop.create_task(stream.open(dict(self.scope), self._refusal))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _refusal(self, problem: Problem, context: RequestContext) -> bytes:
        """The response to a refused handshake."""
        options = b", ".join(value for name, value in (*problem.headers, *CLOSE) if name == b"connection")
        others = tuple(header for header in problem.headers if header[0] != b"connection")
        problem.headers = (*others, (b"connection", options))
        return self._wire(problem.answer(), context.header_line)
