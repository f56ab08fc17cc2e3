"""One stream's connection: bytes to frames and back, its pace, and its end.

The `websockets` library speaks the protocol; a whole frame of the expected kind takes a short way past it.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any, cast

import structlog
from starlette.types import Scope
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from dqn_serving.api.errors import problem_of
from dqn_serving.api.stream.framing import Cut, cut, short_payload, whole
from dqn_serving.api.stream.handshake import Terms, agree
from dqn_serving.api.stream.session import Session
from dqn_serving.api.stream.streams import StreamRoute, Streams
from dqn_serving.problems import Problem
from dqn_serving.telemetry.request_context import RequestContext

MOST_ERRORS = 16
_MOST_WAITING = 256  # frames of one client in one run; what else it has sent waits
_CLOSE_SECONDS = 2.0  # for the client to close as well

_MESSAGES = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})

Refuse = Callable[[Problem, RequestContext], bytes]

log = structlog.get_logger()


class StreamConnection(asyncio.Protocol):
    """A connection that has asked to become a stream."""

    def __init__(self, streams: Streams, route: StreamRoute, connections: set[Any], context: RequestContext) -> None:
        """`connections` are all that the server has to close when it ends."""
        self._streams = streams
        self._route = route
        self._connections = connections
        self._context = streams.name(context)
        self._max_bytes = streams.settings.max_body_bytes
        self._library = ServerProtocol(state=OPEN, max_size=self._max_bytes)
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._terms: Terms | None = None
        self._session: Session = cast("Session", None)
        self._kind = -1  # the first byte of frames that take the short way
        self._received = bytearray()  # what is not worked off yet
        self._fragments = bytearray()
        self._opcode = Opcode.TEXT
        self._is_write_paused = False
        self._was_heard = self._was_pinged = False
        self._is_ending = self._is_working = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Waits until it is agreed what this connection is to be."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.pause_reading()
        self._connections.add(self)

    async def open(self, scope: Scope, refuse: Refuse) -> None:
        """Agrees with the client, or refuses: `refuse` writes a problem as HTTP does."""
        started = perf_counter()
        try:
            terms = await agree(self._streams, self._route, scope, self._context)
        except Exception as error:
            problem = problem_of(error)
            if problem.status == 500:
                log.exception("request failed", path=self._route.path)
            self._refuse(problem, started, refuse)
        else:
            if not self._transport.is_closing():
                self._begin(terms)
                self._streams.count(self._route, 101, perf_counter() - started, self._context)

    def _refuse(self, problem: Problem, started: float, refuse: Refuse) -> None:
        named = self._context.with_request_id()
        self._transport.write(refuse(problem, named))
        self._transport.close()
        self._streams.count(self._route, problem.status, perf_counter() - started, named)

    def _begin(self, terms: Terms) -> None:
        if terms.is_pinned:
            self._streams.registry.pinned.hold(terms.loaded)
        self._terms = terms
        self._kind = whole(terms.codec.opcode)
        self._session = Session(self._streams, terms, self._write, self._work)
        self._write(terms.response + self._session.hello())
        self._streams.add(self, terms.served.name)
        self._wait()
        self._work()

    def connection_lost(self, _error: Exception | None) -> None:
        """Lets go of everything."""
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._terms is not None:
            self._streams.remove(self, self._terms.served.name)
            if self._terms.is_pinned:
                self._streams.registry.pinned.release(self._terms.loaded)

    # what comes in

    def data_received(self, data: bytes) -> None:
        """Has one whole frame answered at once, or works off what came as far as answers can leave."""
        self._was_heard = True
        can_be_plain = not (self._received or self._is_ending or self._library.current_size is not None)
        payload = short_payload(data, self._kind) if can_be_plain else None
        if payload is not None:
            self._receive(payload, is_alone=self._streams.is_one)
            return
        self._received += data
        self._work(is_alone=self._streams.is_one)

    def _receive(self, payload: bytes, *, is_alone: bool) -> None:
        self._session.receive(payload, is_alone=is_alone)
        if self._session.errors >= MOST_ERRORS:
            self._close(CloseCode.POLICY_VIOLATION, f"{MOST_ERRORS} frames in succession were refused")

    def _is_plain(self, found: Cut) -> bool:
        is_message = found.kind == self._kind and self._library.current_size is None
        return is_message and self._is_allowed(found) and not self._is_ending

    def _is_allowed(self, found: Cut) -> bool:
        return found.is_masked and found.length <= self._max_bytes

    def _work(self, *, is_alone: bool = False) -> None:
        """Takes frame after frame until one is not complete, or there are too many to answer at once."""
        if self._terms is None or self._is_working:
            return
        self._is_working = True  # while a frame is taken those before it may be answered, which leads here again
        while not self._is_write_paused and self._session.waiting < _MOST_WAITING:
            size = self._takeable()
            if not size:
                break
            piece = bytes(self._received[:size])
            del self._received[:size]
            found = cut(piece)
            if found is not None and self._is_plain(found):
                self._receive(found.payload(piece), is_alone=is_alone and not self._received)
            else:
                self._give_to_library(piece)
        self._is_working = False
        self._pace()

    def _takeable(self) -> int:
        """How many of the received bytes are a frame, or for the library to refuse or to pass over."""
        found = cut(self._received)
        if self._is_ending or (found is not None and not self._is_allowed(found)):
            return len(self._received)
        return found.end if found is not None and found.end <= len(self._received) else 0

    def _give_to_library(self, piece: bytes) -> None:
        self._session.answer_waiting()
        self._library.receive_data(piece)
        for event in self._library.events_received():
            if not self._is_ending and isinstance(event, Frame) and event.opcode in _MESSAGES:
                self._join_fragment(event)
        self._flush()

    def _join_fragment(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._opcode = frame.opcode
        self._fragments += frame.data
        if frame.fin:
            message = bytes(self._fragments)
            self._fragments.clear()
            if whole(self._opcode) == self._kind:
                self._receive(message, is_alone=False)
            else:
                self._session.refuse_kind()

    # its pace

    def pause_writing(self) -> None:
        """The client does not read: nothing of it is read either, so that no answers pile up here."""
        self._is_write_paused = True
        self._pace()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._is_write_paused = False
        self._work()

    def _pace(self) -> None:
        is_full = bool(self._received) and self._session.waiting >= _MOST_WAITING
        if self._is_write_paused or is_full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _wait(self) -> None:
        seconds = self._streams.settings.stream_ping_seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._check)

    def _check(self) -> None:
        """Pings a client that was silent; drops one that was silent since the last ping."""
        if self._was_heard:
            self._was_pinged = False
        elif self._was_pinged:
            self._transport.abort()
            return
        else:
            self._was_pinged = True
            self._library.send_ping(b"")
            self._flush()
        self._was_heard = False
        self._wait()

    # what goes out, and the end

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing() and not self._is_ending:
            self._transport.write(data)

    def _flush(self) -> None:
        """Sends what the library has to say."""
        for data in self._library.data_to_send():
            if data:
                self._transport.write(data)
            elif self._library.close_rcvd is None and self._transport.can_write_eof():
                self._transport.write_eof()  # closing now could take our reason for it from the client
            else:
                self._transport.close()
        if self._library.close_expected() and not self._is_ending:
            self._is_ending = True
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self._transport.abort)

    def _close(self, code: CloseCode, reason: str) -> None:
        if not self._is_ending:
            self._session.answer_waiting()
            self._library.send_close(code, reason)
            self._flush()

    def say_draining(self) -> None:
        """Tells the client that the server is about to end."""
        self._session.say_draining()

    def shutdown(self) -> None:
        """The server ends."""
        if self._terms is None:
            self._transport.close()
        else:
            self._close(CloseCode.GOING_AWAY, "the server is shutting down")

    def eof_received(self) -> None:
        """The client sends nothing more: what it sent is answered, and the connection closes."""
        if self._terms is not None:
            self._session.answer_waiting()
