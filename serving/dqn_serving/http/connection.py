"""One HTTP connection and its limits: what it accepts, how protocol errors are answered, and how it ends.

It adds what uvicorn's protocol lacks: limits on heads, time and connections, refusals in the API's form, and a
lingering close: a socket that is closed with unread bytes resets its connection, and the reset may reach the client
before the answer does (RFC 9112, section 9.6).
"""

import asyncio
import sys
from time import perf_counter
from typing import Any

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dqn_serving.http.head_cache import MAX_FIELDS, MAX_HEAD_BYTES, MAX_URL_BYTES
from dqn_serving.http.parts import ConnectionParts
from dqn_serving.problems import CLOSE, Answer, Problem
from dqn_serving.telemetry.request_context import EMPTY

_SPARE_CONNECTIONS = 256  # beyond the limit: these are answered before they are closed
_LINGER_SECONDS = 2.0


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with answers to protocol errors and a time limit on every client."""

    def __init__(self, parts: ConnectionParts, **options: Any) -> None:
        """`options` are uvicorn's."""
        super().__init__(**options)
        self.url = b""
        self._parts = parts
        self._settings = parts.settings
        self._is_inside_message = self._is_inside_head = False
        self._unanswered = 0  # requests that the application has or will get
        self._message_began_at = 0.0
        self._head_bytes = self._body_bytes = 0  # of this message
        self._silent_bytes = 0  # since it began, or since the last piece of its body
        self._is_making_progress = False
        self._is_half_closed = False
        self._is_lingering = False  # what still arrives is discarded
        self._final_response = b""
        self._reading_timer: asyncio.TimerHandle | None = None
        self._writing_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None

    # limits on what arrives

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Accepts the connection and starts the idle timer, or refuses it."""
        super().connection_made(transport)
        self._message_began_at = perf_counter()
        limit = self._settings.max_connections
        excess = len(self.connections) - limit
        if excess > _SPARE_CONNECTIONS:
            transport.abort()
        elif excess > 0:
            self._refuse(Problem(503, f"The connection limit of {limit} is reached (DQN_MAX_CONNECTIONS)."))
        else:
            self._wait_for_more(self.timeout_keep_alive)

    def _wait_for_more(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    @override
    def data_received(self, data: bytes) -> None:
        if self._is_lingering:
            return
        self._is_making_progress = False
        super().data_received(data)
        if self._is_lingering or self.transport.get_protocol() is not self:  # handed over
            return
        if not self._is_inside_message:
            if self.timeout_keep_alive_task is None and self._unanswered == 0:
                self._wait_for_more(self.timeout_keep_alive)
            return
        self._silent_bytes = 0 if self._is_making_progress else self._silent_bytes + len(data)
        if self._silent_bytes > MAX_HEAD_BYTES:  # of a header that the parser buffers until it is complete
            self._refuse(_long_head())
        elif self._reading_timer is None:
            self._reading_timer = self.loop.call_later(self._settings.request_seconds, self._check_time)

    @override
    def on_message_begin(self) -> None:
        self._is_inside_message = self._is_inside_head = self._is_making_progress = True
        self._head_bytes = self._body_bytes = 0
        self._message_began_at = perf_counter()
        super().on_message_begin()

    @override
    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            raise Problem(414, f"The URL is longer than the {MAX_URL_BYTES} bytes allowed.")

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        """Limits the fields of the head, and of the trailer after a chunked body."""
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value)
        if len(self.headers) > MAX_FIELDS or self._head_bytes > MAX_HEAD_BYTES:
            raise _long_head()

    @override
    def on_headers_complete(self) -> None:
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self.cycle.transport = self  # type: ignore[assignment]  # `write`, `close` and `is_closing` are all it uses
            self._unanswered += 1
        self._is_inside_head = False

    @override
    def on_body(self, body: bytes) -> None:
        """Limits how much is read and discarded: the rest of a body whose request was answered without it."""
        super().on_body(body)
        self._is_making_progress = True
        self._body_bytes += len(body)
        if self._body_bytes > self._settings.max_body_bytes and self._unanswered == 0:
            self._close_after_responses()

    @override
    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._is_inside_message = False

    def _check_time(self) -> None:
        """Ends a message that takes too long, unless the server holds it up or an endpoint limits its time."""
        self._reading_timer = None
        if self._is_lingering or not self._is_inside_message:
            return
        limit = self._settings.request_seconds
        seconds_left = self._message_began_at + limit - perf_counter()
        is_read_by_endpoint = self._unanswered > 0 and not self._is_inside_head
        if seconds_left > 0 or is_read_by_endpoint or self.flow.read_paused:
            self._reading_timer = self.loop.call_later(seconds_left if seconds_left > 0 else limit, self._check_time)
        elif self._is_inside_head:
            self._refuse(Problem(408, f"The head took longer than the {limit:g} s allowed (DQN_REQUEST_SECONDS)."))
        else:
            self._close_after_responses()

    # refusals

    @override
    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP; called while the parser's error is handled. uvicorn's `msg` says too little."""
        fault = sys.exception()
        cause = fault.__context__ if fault is not None else None
        found = "the target cannot be read" if cause is not None else fault
        self._refuse(cause if isinstance(cause, Problem) else Problem(400, f"This is not HTTP/1.1: {found}."))

    def _refuse(self, problem: Problem) -> None:
        """Answers a protocol error, after the requests before it, and ends the connection."""
        if self._is_lingering:
            return
        is_inside_body = self._is_inside_message and not self._is_inside_head
        if not is_inside_body or self._cancel_request():
            context = EMPTY.with_request_id()
            seconds = perf_counter() - self._message_began_at
            self._parts.request_log.observe(self._parts.measures, "-", "-", problem.status, seconds, context)
            problem.headers += CLOSE
            path = self.url.partition(b"?")[0].decode("latin-1")
            self._final_response = self._wire(self._parts.render_problem(path, problem), context.header_line)
        self._close_after_responses()

    def _wire(self, answer: Answer, own_header_line: bytes) -> bytes:
        return self._parts.opening(answer.status, self.server_state.default_headers) + own_header_line + answer.wire

    def _cancel_request(self) -> bool:
        """Cancels the request whose body is being read; False if its answer has begun."""
        if self.cycle.response_started:
            return False
        if self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()
        self._unanswered -= 1
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        return True

    # the transport that responses are written to, and closing

    def write(self, data: bytes) -> None:
        """Writes, or does nothing if the client has gone: uvicorn tells only the latest request of that."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def is_closing(self) -> bool:
        """Whether the transport is closing."""
        return self.transport.is_closing()

    def close(self) -> None:
        """Ends the connection after an answer that says so, whatever requests follow."""
        self.pipeline.clear()
        self._unanswered = 0
        self._final_response = b""
        self._close_after_responses()

    @override
    def on_response_complete(self) -> None:
        """Ends the connection if it waited for this answer."""
        self._unanswered = max(0, self._unanswered - 1)
        super().on_response_complete()
        if self._unanswered > 0:
            return
        if self._is_lingering:
            self._send_final()
        elif self._is_half_closed:
            self._close()

    def _close_after_responses(self) -> None:
        """Ends the connection after the last answer; a client that is still sending gets time to read it."""
        if not self._is_inside_message and not self._final_response:
            self._close()
            return
        self._is_lingering = True
        self.flow.resume_reading()
        if self._unanswered == 0:
            self._send_final()

    def _send_final(self) -> None:
        """Sends the last bytes; closes when the client does, or after a moment."""
        if self._linger_timer is not None or self.transport.is_closing():
            return
        self.transport.write(self._final_response)
        if self._is_half_closed:
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger_timer = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def _close(self) -> None:
        """Closes once the client has read everything, or has had time to."""
        if self.transport.is_closing():
            return
        self.transport.close()
        if self.transport.get_write_buffer_size() > 0:
            self._limit_writing()

    def _limit_writing(self) -> None:
        if self._writing_timer is None:
            self._writing_timer = self.loop.call_later(self._settings.request_seconds, self.transport.abort)

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._limit_writing()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        if self._writing_timer is not None and not self.transport.is_closing():
            self._writing_timer.cancel()
            self._writing_timer = None

    @override
    def shutdown(self) -> None:
        """Ends the connection after its requests in flight, if any; the last response announces it."""
        if self._unanswered == 0 and not self._is_inside_message:
            self._close()
        elif self.cycle is not None:
            self.cycle.keep_alive = False

    @override
    def timeout_keep_alive_handler(self) -> None:
        self._close()

    @override
    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio expects a result
        """Stays open to answer a client that has closed its sending side (impossible with TLS)."""
        is_sending = self._is_inside_message and not self._is_lingering
        self._is_half_closed = self._unanswered > 0 and not is_sending and self.scheme == "http"
        return self._is_half_closed

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Cancels all timers, which would keep this connection in memory."""
        super().connection_lost(exc)
        self._cancel_timers()

    def _cancel_timers(self) -> None:
        for timer in (self.timeout_keep_alive_task, self._reading_timer, self._writing_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()


def _long_head() -> Problem:
    return Problem(431, f"The head has more than the {MAX_FIELDS} fields or {MAX_HEAD_BYTES} bytes allowed.")
