"""What a connection may take: bytes of a head, seconds for a request, a place among the others."""

import asyncio
from time import perf_counter
from typing import Any

from dqn_serving.http.ending import EndingProtocol, Limits
from dqn_serving.problems import Problem

MAX_URL_BYTES = 8 * 1024
MAX_HEAD_BYTES = 64 * 1024
MAX_FIELDS = 128
_SPARE_CONNECTIONS = 256  # beyond the limit: these are told so before they are closed


class GuardedProtocol(EndingProtocol):
    """One connection within its limits. The limits of bodies are `serving.api.body`'s."""

    def __init__(self, limits: Limits, **options: Any) -> None:
        """`options` are uvicorn's."""
        super().__init__(limits, **options)
        self._head_bytes = self._body_bytes = 0  # of this message
        self._silent_bytes = 0  # since it began, or since the last piece of its body
        self._is_making_progress = False
        self._reading_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Lets a connection in, until it was idle for too long, or refuses it."""
        super().connection_made(transport)
        self._message_began_at = perf_counter()
        excess = len(self.connections) - self._limits.max_connections
        if excess > _SPARE_CONNECTIONS:
            transport.abort()
        elif excess > 0:
            most = self._limits.max_connections
            self._refuse(Problem(503, f"The server has the {most} connections that it takes (DQN_MAX_CONNECTIONS)."))
        else:
            self._wait_for_more(self.timeout_keep_alive)

    def _wait_for_more(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        """Reads on, and sees to it that what has begun ends."""
        self._is_making_progress = False
        super().data_received(data)
        if self._farewell is not None:
            return
        if not self._is_inside_message:
            if self.timeout_keep_alive_task is None and self._unanswered == 0:
                self._wait_for_more(self.timeout_keep_alive)
            return
        self._silent_bytes = 0 if self._is_making_progress else self._silent_bytes + len(data)
        if self._silent_bytes > MAX_HEAD_BYTES:  # of a field that the parser keeps to itself until it is complete
            self._refuse(_long_head())
        elif self._reading_timer is None:
            self._reading_timer = self.loop.call_later(self._limits.request_seconds, self._check_time)

    def on_message_begin(self) -> None:
        """Begins to measure."""
        self._is_inside_message = self._is_inside_head = self._is_making_progress = True
        self._head_bytes = self._body_bytes = 0
        self._message_began_at = perf_counter()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Limits the URL."""
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            raise Problem(414, f"The URL is longer than the {MAX_URL_BYTES} bytes allowed.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Limits the fields of the head, and of the trailer after a chunked body."""
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value)
        if len(self.headers) > MAX_FIELDS or self._head_bytes > MAX_HEAD_BYTES:
            raise _long_head()

    def on_headers_complete(self) -> None:
        """Notes that the body comes next."""
        super().on_headers_complete()
        self._is_inside_head = False

    def on_body(self, body: bytes) -> None:
        """Limits what is read for nobody: the rest of a body whose request was answered without it."""
        super().on_body(body)
        self._is_making_progress = True
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.max_body_bytes and self._unanswered == 0:
            self._part()

    def on_message_complete(self) -> None:
        """Notes that the parser is between two messages."""
        super().on_message_complete()
        self._is_inside_message = False

    def _check_time(self) -> None:
        """Ends a message that takes too long, unless the server is what holds it up, or an endpoint sees to it."""
        self._reading_timer = None
        if self._farewell is not None or not self._is_inside_message:
            return
        limit = self._limits.request_seconds
        seconds_left = self._message_began_at + limit - perf_counter()
        is_read_by_endpoint = self._unanswered > 0 and not self._is_inside_head
        if seconds_left > 0 or is_read_by_endpoint or self.flow.read_paused:
            self._reading_timer = self.loop.call_later(seconds_left if seconds_left > 0 else limit, self._check_time)
        elif self._is_inside_head:
            self._refuse(Problem(408, f"The head took longer than the {limit:g} s allowed (DQN_REQUEST_SECONDS)."))
        else:
            self._part()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leaves no timer that would keep this connection in memory."""
        super().connection_lost(exc)
        if self._reading_timer is not None:
            self._reading_timer.cancel()


def _long_head() -> Problem:
    return Problem(431, f"The head has more than the {MAX_FIELDS} fields or {MAX_HEAD_BYTES} bytes allowed.")
