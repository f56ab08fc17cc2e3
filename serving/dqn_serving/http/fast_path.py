"""uvicorn's HTTP protocol with a short way for calls to act: no task, no scope, no messages, one write.

A call takes it when all of it arrived at once on an idle connection and nothing about it is out of the ordinary.
Anything else, every fault included, goes uvicorn's own way to `serving.app` with the same bytes.
"""

from time import perf_counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from dqn_serving.api.act import Route
from dqn_serving.api.oip.errors import error_answer
from dqn_serving.api.oip.infer import InferRoute
from dqn_serving.http.ending import Limits
from dqn_serving.http.head_cache import Head, Heads
from dqn_serving.http.upgrade import UpgradingProtocol
from dqn_serving.inference.admission import refusal
from dqn_serving.problems import Answer, Problem
from dqn_serving.services import Services
from dqn_serving.telemetry.metrics import OTHER_ENDPOINT

_END_OF_HEAD = b"\r\n\r\n"


class ShortWay:
    """What all connections of a server share."""

    def __init__(self, services: Services) -> None:
        self.native = services.native
        self.infer = services.infer
        cross_origin = [b"origin"] if services.settings.cors_origins else []
        self.heads = Heads(self._route, services.settings.max_body_bytes, cross_origin)
        self.gate = services.gate
        self.lifecycle = services.lifecycle
        self.journal = services.journal
        self.admission = services.admission
        self.refusal, self.infer_refusal = refusal().answer(), error_answer(refusal())
        settings = services.settings
        self.limits = Limits(
            max_connections=settings.max_connections,
            max_body_bytes=settings.max_body_bytes,
            request_seconds=settings.request_seconds,
            journal=services.journal,
            measures=services.requests.endpoint(OTHER_ENDPOINT),
        )
        self.streams = services.streams
        self._common_headers: list[tuple[bytes, bytes]] = []
        self._openings: dict[int, bytes] = {}

    def _route(self, path: str) -> Route | InferRoute | None:
        return self.native.route(path) or self.infer.route(path)

    def opening(self, status: int, common_headers: list[tuple[bytes, bytes]]) -> bytes:
        """The status line and the headers of every answer; uvicorn replaces these each second, for the date."""
        if common_headers is not self._common_headers:
            self._common_headers, self._openings = common_headers, {}
        if status not in self._openings:
            lines = [b"%b: %b\r\n" % header for header in common_headers]
            self._openings[status] = b"".join([STATUS_LINE[status], *lines])
        return self._openings[status]


class ActingProtocol(UpgradingProtocol):
    """One connection."""

    def __init__(self, short_way: ShortWay, **options: Any) -> None:
        """`options` are uvicorn's."""
        super().__init__(short_way.limits, short_way.streams, short_way.gate, **options)
        self._short_way = short_way
        self._begun: Head | None = None  # of the call that waits for the end of the turn
        self._begun_at = perf_counter()

    def data_received(self, data: bytes) -> None:
        """Begins a call to act, or lets uvicorn go on."""
        self._finish()
        if not (self._is_idle() and self._begin(data)):
            super().data_received(data)

    def _finish(self) -> None:
        """Has a call that was begun answered at once, so that nothing overtakes it."""
        if self._begun is not None:
            self._short_way.native.turn.end()

    def _is_idle(self) -> bool:
        is_busy = self._is_inside_message or self._unanswered or self.flow.write_paused
        return not (is_busy or self._short_way.lifecycle.is_draining)

    def _begin(self, data: bytes) -> bool:
        started = perf_counter()
        length = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        head = self._short_way.heads.read(data[:length]) if length >= len(_END_OF_HEAD) else None
        if head is None or len(data) != length + head.length:
            return False
        try:
            self._short_way.gate.check(head.scope)
        except Problem:
            return False
        self._begun, self._begun_at = head, started
        if self._short_way.admission.is_spent():
            self._turn_away(head)
        elif not self._is_taken(head, data[length:]):
            self._begun = None
            return False
        if self.timeout_keep_alive_task is None:
            self._wait_for_more(self.timeout_keep_alive)
        return True

    def _turn_away(self, head: Head) -> None:
        """Refuses the call, after answering those that were taken on: they would wait for all who are refused.

        Whoever asks again is heard in the next turn. As long as a thousand sockets have something to read, uvloop reads
        on, so clients that come back at once would prolong this one.
        """
        self._short_way.native.turn.end()
        is_infer = isinstance(head.route, InferRoute)
        self._deliver(self._short_way.infer_refusal if is_infer else self._short_way.refusal)
        if not self.transport.is_closing():
            self.flow.pause_reading()
            self.loop.call_soon(self._hear_again)

    def _hear_again(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def _is_taken(self, head: Head, body: bytes) -> bool:
        """Has the call answered, now or at the end of the turn; False where it must go the long way."""
        if isinstance(head.route, InferRoute):
            return self._short_way.infer.begin(head.route, head.scope, body, self._deliver)
        return self._short_way.native.begin(head.route, body, self._deliver)

    def _deliver(self, answer: Answer) -> None:
        head, self._begun = self._begun, None
        if head is None:  # never: what was begun is delivered once
            return
        journal, correlation = self._short_way.journal, head.correlation
        if journal.names_every_request or answer.status >= 400:
            correlation = correlation.named()
        path = head.scope["path"]
        journal.record(head.route.measures, "POST", path, answer.status, self._begun_at, correlation, answer.served)
        if not self.transport.is_closing():
            opening = self._short_way.opening(answer.status, self.server_state.default_headers)
            self.transport.write(opening + correlation.echo + answer.wire)

    def timeout_keep_alive_handler(self) -> None:
        """Closes the connection if it was idle all the time: the short way does not set the timer anew at each call."""
        seconds_left = self._begun_at + self.timeout_keep_alive - perf_counter()
        if seconds_left > 0:
            self._wait_for_more(seconds_left)
        else:
            super().timeout_keep_alive_handler()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio asks for an answer
        """Answers before the connection closes."""
        self._finish()
        return super().eof_received()

    def shutdown(self) -> None:
        """Answers before the connection closes."""
        self._finish()
        super().shutdown()
