"""How a connection ends: after the last answer, in the API's form, and never by cutting off who still reads."""

import asyncio
import sys
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from dqn_serving.api.oip.errors import error_answer
from dqn_serving.api.oip.paths import is_below
from dqn_serving.http.farewell import Farewell
from dqn_serving.problems import CLOSE, Problem
from dqn_serving.telemetry.metrics import EndpointMeasures
from dqn_serving.telemetry.request_context import NONE, Correlation
from dqn_serving.telemetry.request_log import Journal


class Limits(NamedTuple):
    """What all connections of a server share."""

    max_connections: int
    max_body_bytes: int
    request_seconds: float
    journal: Journal
    measures: EndpointMeasures
    """Of requests that reach no endpoint."""


class _Outlet:
    """Where a request writes its answer. To close it does not cut off a client that still sends."""

    __slots__ = ("_transport", "close", "is_closing")

    def __init__(self, protocol: "EndingProtocol") -> None:
        self._transport = protocol.transport
        self.is_closing = protocol.transport.is_closing
        self.close = protocol.part_at_once

    def write(self, data: bytes) -> None:
        """Writes, or does nothing where the client has gone: uvicorn tells only the latest of its requests."""
        if not self._transport.is_closing():
            self._transport.write(data)


class EndingProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which says what is wrong below HTTP and waits for nobody for ever."""

    def __init__(self, limits: Limits, **options: Any) -> None:
        """`options` are uvicorn's."""
        super().__init__(**options)
        self.url = b""
        self._limits = limits
        self._is_inside_message = self._is_inside_head = False
        self._unanswered = 0  # requests that the application has, or is to have
        self._message_began_at = 0.0
        self._is_half_closed = False
        self._farewell: Farewell | None = None
        self._last_words = b""
        self._writing_timer: asyncio.TimerHandle | None = None

    def on_headers_complete(self) -> None:
        """Has a request answered."""
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self.cycle.transport = _Outlet(self)  # type: ignore[assignment]  # all of a transport that it uses
            self._unanswered += 1

    def on_response_complete(self) -> None:
        """Ends the connection where this was the answer that it waited for."""
        self._unanswered = max(0, self._unanswered - 1)
        super().on_response_complete()
        if self._unanswered > 0:
            return
        if self._farewell is not None:
            self._farewell.say(self._last_words)
        elif self._is_half_closed:
            self._close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (uvicorn's signature; it says too little)
        """Answers what is not HTTP; called where the parser's error is handled."""
        fault = sys.exception()
        cause = fault.__context__ if fault is not None else None
        found = "the target cannot be read" if cause is not None else fault
        self._refuse(cause if isinstance(cause, Problem) else Problem(400, f"This is not HTTP/1.1: {found}."))

    def _refuse(self, problem: Problem) -> None:
        """Answers a fault below HTTP, after what came before it, and ends the connection."""
        if self._farewell is not None:
            return
        is_inside_body = self._is_inside_message and not self._is_inside_head
        if not is_inside_body or self._take_back():
            named = NONE.named()
            journal, measures = self._limits.journal, self._limits.measures
            journal.record(measures, "-", "-", problem.status, self._message_began_at, named)
            self._last_words = self._in_form(problem, named)
        self._part()

    def _take_back(self) -> bool:
        """Takes the request whose body is read from the application; False where its answer has begun."""
        if self.cycle.response_started:
            return False
        if self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()
        self._unanswered -= 1
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        return True

    def _in_form(self, problem: Problem, named: Correlation) -> bytes:
        problem.headers += CLOSE
        path = self.url.partition(b"?")[0].decode("latin-1")
        answer = error_answer(problem) if is_below(path) else problem.answer()
        common = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        return b"".join([STATUS_LINE[answer.status], *common, named.echo, answer.wire])

    def part_at_once(self) -> None:
        """Ends the connection after an answer that says so, whatever else was asked."""
        self.pipeline.clear()
        self._unanswered = 0
        self._last_words = b""
        self._part()

    def _part(self) -> None:
        """Ends the connection after the last answer; a client that is still sending gets the time to read it."""
        if not self._is_inside_message and not self._last_words:
            self._close()
            return
        self._farewell = self._farewell or Farewell(self, self.transport)
        self.flow.resume_reading()
        if self._unanswered == 0:
            self._farewell.say(self._last_words)

    def _close(self) -> None:
        """Closes as soon as the client has read everything, or has had the time to."""
        if self.transport.is_closing():
            return
        self.transport.close()
        if self.transport.get_write_buffer_size() > 0:
            self._limit_writing()

    def _limit_writing(self) -> None:
        if self._writing_timer is None:
            self._writing_timer = self.loop.call_later(self._limits.request_seconds, self.transport.abort)

    def pause_writing(self) -> None:
        """Gives a slow reader its time."""
        super().pause_writing()
        self._limit_writing()

    def resume_writing(self) -> None:
        """The client has read on."""
        super().resume_writing()
        if self._writing_timer is not None and not self.transport.is_closing():
            self._writing_timer.cancel()
            self._writing_timer = None

    def shutdown(self) -> None:
        """Ends the connection after what is asked on it, where anything is: the answer then says that it ends."""
        if self._unanswered == 0 and not self._is_inside_message:
            self._close()
        elif self.cycle is not None:
            self.cycle.keep_alive = False

    def timeout_keep_alive_handler(self) -> None:
        """Ends an idle connection."""
        self._close()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio asks for an answer
        """Stays open for the answers to a client that sends no more (with TLS that cannot be)."""
        self._is_half_closed = self._unanswered > 0 and not self._is_inside_message and self.scheme == "http"
        return self._is_half_closed

    def connection_lost(self, exc: Exception | None) -> None:
        """Leaves no timer that would keep this connection in memory."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if self._writing_timer is not None:
            self._writing_timer.cancel()
