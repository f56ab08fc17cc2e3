"""One stream's connection: bytes to frames and back, back-pressure, pings, and closing.

The `websockets` library implements the protocol; messages of one frame, as most are, bypass it on a fast path.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any, cast

import structlog
from starlette.types import Scope
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from dqn_serving.api.errors import problem_of
from dqn_serving.api.stream.frames import first_byte_of, locate, short_payload, unmask
from dqn_serving.api.stream.handshake import NegotiatedStream, negotiate
from dqn_serving.api.stream.hub import StreamHub, StreamRoute
from dqn_serving.api.stream.session import Session
from dqn_serving.problems import Problem, Served
from dqn_serving.telemetry.request_context import RequestContext

MAX_ERRORS = 16
"""How many consecutive refused frames close the stream."""
_PIECE_BYTES = 2**14  # parsed at a time: a small frame takes many times as much memory as on the wire
_CLOSE_SECONDS = 2.0  # for the client to close as well

_MESSAGES = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})

Refuse = Callable[[Problem, RequestContext], bytes]

log = structlog.get_logger()


class StreamConnection(asyncio.Protocol):
    """A connection that has asked to become a stream."""

    def __init__(self, streams: StreamHub, route: StreamRoute, connections: set[Any], context: RequestContext) -> None:
        """`connections` holds all connections that the server closes at shutdown."""
        self._streams = streams
        self._route = route
        self._connections = connections
        assigns_ids = streams.services.request_log.assigns_request_ids
        self._context = context.with_request_id() if assigns_ids else context
        self._max_bytes = streams.services.settings.max_body_bytes
        self._library = ServerProtocol(state=OPEN, max_size=self._max_bytes)
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._negotiated: NegotiatedStream | None = None
        self._session: Session = cast("Session", None)
        self._first_byte = -1  # of frames that take the fast path
        self._received = bytearray()  # not parsed yet
        self._frames: deque[Frame] = deque()  # parsed by the library, not answered yet
        self._fragments = bytearray()
        self._opcode = Opcode.TEXT
        self._is_write_paused = False
        self._was_heard = self._was_pinged = False
        self._is_ending = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Waits until the stream is negotiated."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.pause_reading()
        self._connections.add(self)

    async def open(self, scope: Scope, refuse: Refuse) -> None:
        """Negotiates with the client and starts the stream, or refuses: `refuse` renders a problem as HTTP."""
        started = perf_counter()
        try:
            negotiated = await negotiate(self._streams, self._route, scope, self._context)
        except Exception as error:
            problem = problem_of(error)
            if problem.status == 500:
                log.exception("request failed", path=self._route.path)
            self._refuse(problem, started, refuse)
        else:
            if not self._transport.is_closing():
                self._begin(negotiated)
                self._count(101, started)

    def _refuse(self, problem: Problem, started: float, refuse: Refuse) -> None:
        self._context = self._context.with_request_id()
        self._transport.write(refuse(problem, self._context))
        self._transport.close()
        self._count(problem.status, started)

    def _count(self, status: int, started: float, served: Served | None = None) -> None:
        seconds, log = perf_counter() - started, self._streams.services.request_log
        log.observe(self._route.measures, "STREAM", self._route.path, status, seconds, self._context, served)

    def _begin(self, negotiated: NegotiatedStream) -> None:
        if negotiated.is_pinned:
            self._streams.services.registry.pinned.hold(negotiated.loaded)
        self._negotiated = negotiated
        self._first_byte = first_byte_of(negotiated.codec.opcode)
        self._session = Session(self._streams.services.batcher, negotiated, self._write, self._count)
        self._write(negotiated.response + self._session.hello())
        self._streams.add(self._session.announce_draining, negotiated.served.name)
        self._start_ping_timer()
        self._process()

    def connection_lost(self, _error: Exception | None) -> None:
        """Releases what the connection holds."""
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._negotiated is not None:
            self._streams.remove(self._session.announce_draining, self._negotiated.served.name)
            if self._negotiated.is_pinned:
                self._streams.services.registry.pinned.release(self._negotiated.loaded)

    # incoming bytes

    def data_received(self, data: bytes) -> None:
        """Answers a lone short frame at once; queues and processes anything else."""
        self._was_heard = True
        if not self._received and self._is_between_frames():
            payload = short_payload(data, self._first_byte)
            if payload is not None:
                self._receive(payload, run_immediately=self._streams.has_single_stream)
                return
        self._received += data
        self._process(run_immediately=self._streams.has_single_stream)

    def _is_between_frames(self) -> bool:
        """Whether the next bytes start a message, with nothing pending in the library before them."""
        library = self._library
        return not (self._frames or library.reader.buffer or library.current_size is not None or self._is_ending)

    def _receive(self, payload: bytes, *, run_immediately: bool) -> None:
        self._session.receive(payload, run_immediately=run_immediately)
        if self._session.errors >= MAX_ERRORS:
            self._close(CloseCode.POLICY_VIOLATION, f"{MAX_ERRORS} consecutive frames were refused")

    def _process(self, *, run_immediately: bool = False) -> None:
        """Processes what has arrived while the peer reads the answers; otherwise it waits, and reading pauses."""
        if self._negotiated is None or self._transport.is_closing():
            return
        is_progressing = True
        while is_progressing and not self._is_write_paused:
            if self._frames:
                frame = self._frames.popleft()
                is_last = not self._frames and not self._received
                self._take_frame(frame, run_immediately=run_immediately and is_last)
                self._flush()
            else:
                is_progressing = self._parse(run_immediately=run_immediately)
        self._pace()

    def _parse(self, *, run_immediately: bool) -> bool:
        """Takes a whole message, or lets the library parse; False if more bytes are needed first."""
        found = locate(self._received, self._first_byte) if self._is_between_frames() else None
        if found is None or found[1] - found[0] > self._max_bytes:
            return self._parse_by_library()
        start, end = found
        if end > len(self._received):
            return False
        payload = unmask(self._received, start, end)
        del self._received[:end]
        self._receive(payload, run_immediately=run_immediately and not self._received)
        return True

    def _parse_by_library(self) -> bool:
        if not self._received:
            return False
        self._library.receive_data(self._received[:_PIECE_BYTES])
        del self._received[:_PIECE_BYTES]
        parsed = cast("list[Frame]", self._library.events_received())
        self._frames.extend(() if self._is_ending else parsed)
        self._flush()
        return True

    def _take_frame(self, frame: Frame, *, run_immediately: bool) -> None:
        """Adds a data frame to its message, and answers the message once it is complete."""
        if self._is_ending or frame.opcode not in _MESSAGES:
            return
        if frame.opcode is not Opcode.CONT:
            self._opcode = frame.opcode
        if self._fragments or not frame.fin:
            self._fragments += frame.data
        if not frame.fin:
            return
        message = bytes(self._fragments or frame.data)
        self._fragments.clear()
        if first_byte_of(self._opcode) == self._first_byte:
            self._receive(message, run_immediately=run_immediately)
        else:
            self._session.refuse_kind()

    # pacing

    def pause_writing(self) -> None:
        """The client does not read: pause reading from it too, so that no answers pile up here."""
        self._is_write_paused = True
        self._pace()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._is_write_paused = False
        asyncio.get_running_loop().call_soon(self._process)  # not now: this may be called within a write

    def _pace(self) -> None:
        if self._is_write_paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _start_ping_timer(self) -> None:
        seconds = self._streams.services.settings.stream_ping_seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._check_peer)

    def _check_peer(self) -> None:
        """Pings a client that was silent; drops one that was silent since the last ping."""
        if self._was_heard:
            self._was_pinged = False
        elif self._was_pinged:
            self._transport.abort()
            return
        elif self._library.state is OPEN:
            self._was_pinged = True
            self._library.send_ping(b"")
            self._flush()
        self._was_heard = False
        self._start_ping_timer()

    # outgoing bytes, and closing

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing() and not self._is_ending:
            self._transport.write(data)

    def _flush(self) -> None:
        """Sends the library's output, such as pongs, after the answers to everything before it."""
        pieces = [] if self._frames else self._library.data_to_send()
        if not pieces:
            return
        self._session.answer_waiting()
        for piece in pieces:
            if piece:
                self._transport.write(piece)
            elif self._library.close_rcvd is None and self._transport.can_write_eof():
                self._transport.write_eof()  # closing now could lose the close frame on its way to the client
            else:
                self._transport.close()
        if self._library.close_expected() and not self._is_ending:
            self._is_ending = True
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self._transport.abort)

    def _close(self, code: CloseCode, reason: str) -> None:
        """Closes the stream after answering what was accepted; frames that still wait are dropped."""
        self._frames.clear()
        if self._library.state is OPEN:
            self._library.send_close(code, reason)
        self._flush()

    def shutdown(self) -> None:
        """Closes the connection at shutdown."""
        if self._negotiated is None:
            self._transport.close()
        else:
            self._close(CloseCode.GOING_AWAY, "the server is shutting down")

    def eof_received(self) -> None:
        """The client sends nothing more: answers what it has sent, and closes the connection."""
        if self._negotiated is not None:
            self._session.answer_waiting()
