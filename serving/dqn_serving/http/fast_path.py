"""uvicorn's HTTP protocol with a fast path for calls that choose actions: no task, no scope, no messages, one write.

A call takes it if it is the only one on its connection, its body arrives at once or in a few pieces in quick
succession, and nothing about it is unusual. Everything else, including every error, takes uvicorn's slow path to the
framework, with the same bytes.
"""

import asyncio
from time import perf_counter
from typing import Any

from typing_extensions import override

from dqn_serving.http.head_cache import Head
from dqn_serving.http.parts import ConnectionParts
from dqn_serving.http.upgrade import UpgradingProtocol
from dqn_serving.problems import Answer, Problem

_END_OF_HEAD = b"\r\n\r\n"
_MAX_HELD = 16  # bodies of the maximum size, in memory at once
_PIECES_SECONDS = 0.1  # for the rest of a body; a slower one takes the slow path, which limits its time


class FastProtocol(UpgradingProtocol):
    """One connection."""

    def __init__(self, parts: ConnectionParts, **options: Any) -> None:
        super().__init__(parts, **options)
        self._begun: Head | None = None  # of the call that waits for the end of the turn
        self._begun_at = perf_counter()
        self._held: list[bytes] = []  # a head, and as much of its body as has arrived
        self._missing_bytes = 0  # of that body
        self._holding_timer: asyncio.TimerHandle | None = None

    @override
    def data_received(self, data: bytes) -> None:
        """Starts a call on the fast path, or leaves it to uvicorn."""
        if self._begun is not None:
            self._parts.flush()  # so that nothing overtakes it
        if self._held:
            self._missing_bytes -= len(data)
            if self._missing_bytes > 0 and self._hold(data):
                return
            data = self._take_held() + data
        if not (self._is_idle() and self._begin(data)):
            super().data_received(data)

    def _is_idle(self) -> bool:
        is_busy = self._is_inside_message or self._unanswered or self._is_lingering or self.flow.write_paused
        return not (is_busy or self._parts.admission.is_draining)

    def _begin(self, data: bytes) -> bool:
        started = perf_counter()
        length = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        head = self._parts.heads.read(data[:length]) if length >= len(_END_OF_HEAD) else None
        if head is None or len(data) > length + head.length:
            return False
        if len(data) < length + head.length:
            self._missing_bytes = length + head.length - len(data)
            return self._hold(data)
        try:
            self._parts.access.check(head.scope)
        except Problem:
            return False
        self._begun, self._begun_at = head, started
        if self._parts.admission.is_spent():
            self._refuse_overload(head)
        elif not head.route.begin(head.scope, data[length:], self._deliver):
            self._begun = None
            return False
        if self.timeout_keep_alive_task is None:
            self._wait_for_more(self.timeout_keep_alive)
        return True

    def _hold(self, data: bytes) -> bool:
        """Waits a moment for the rest of a body; False if that would take too much memory."""
        if self._parts.held_bytes + len(data) > _MAX_HELD * self._settings.max_body_bytes:
            return False
        self._held.append(data)
        self._parts.held_bytes += len(data)
        if self._holding_timer is None:
            self._holding_timer = self.loop.call_later(_PIECES_SECONDS, self._release_held)
        return True

    def _take_held(self) -> bytes:
        if self._holding_timer is not None:
            self._holding_timer.cancel()
            self._holding_timer = None
        data = b"".join(self._held)
        self._held.clear()
        self._parts.held_bytes -= len(data)
        return data

    def _release_held(self) -> None:
        """Passes what has arrived of a request to uvicorn."""
        if self._held:
            super().data_received(self._take_held())

    def _refuse_overload(self, head: Head) -> None:
        """Refuses the call, after answering those already admitted, which would otherwise wait for all refusals.

        Reading pauses until the next turn: uvloop keeps reading while any of a thousand sockets is readable, so clients
        that retry at once would prolong this turn.
        """
        self._parts.flush()
        self._deliver(head.route.refusal)
        if not self.transport.is_closing():
            self.flow.pause_reading()
            self.loop.call_soon(self._resume_reading)

    def _resume_reading(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def _deliver(self, answer: Answer) -> None:
        head, self._begun = self._begun, None
        if head is None:  # never: what was begun is delivered once
            return
        log, context = self._parts.request_log, head.context
        if log.assigns_request_ids or answer.status >= 400:
            context = context.with_request_id()
        seconds = perf_counter() - self._begun_at
        log.observe(head.route.measures, "POST", head.scope["path"], answer.status, seconds, context, answer.served)
        if not self.transport.is_closing():
            self.transport.write(self._wire(answer, context.header_line))

    @override
    def timeout_keep_alive_handler(self) -> None:
        """Closes the connection if it has been idle since: the fast path does not reset the timer at each call."""
        if self._held:
            self._release_held()
            return
        seconds_left = self._begun_at + self.timeout_keep_alive - perf_counter()
        if seconds_left > 0:
            self._wait_for_more(seconds_left)
        else:
            super().timeout_keep_alive_handler()

    @override
    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio expects a result
        """Answers before the connection closes."""
        self._finish()
        return super().eof_received()

    @override
    def shutdown(self) -> None:
        """Answers before the connection closes."""
        self._finish()
        super().shutdown()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._take_held()
        super().connection_lost(exc)

    def _finish(self) -> None:
        if self._begun is not None:
            self._parts.flush()
        self._release_held()
