"""Reads request bodies within limits on size, time and total memory."""

import asyncio

from starlette.requests import Request
from starlette.types import Receive, Scope

from dqn_serving.inference.admission import Admission
from dqn_serving.problems import CLOSE, RETRY_LATER, Problem

_MAX_SHOWN = 40  # characters of what a client sent
_MAX_HELD = 64  # bodies of the maximum size, in memory at once


class BodyReader:
    """Reads the bodies of a server's requests."""

    def __init__(self, limit: int, seconds: float, admission: Admission) -> None:
        """`limit` is the size of the largest body in bytes; a client has `seconds` to send one."""
        self.limit = limit
        self._admission = admission
        self._seconds = seconds
        self._held = 0  # bytes of the bodies that are being received

    async def read_json(self, scope: Scope, receive: Receive, *, is_always_answered: bool = False) -> bytes:
        """The whole body of a call that takes JSON, whatever its Content-Type says.

        Raises what `read` raises, and Problem (415) if the body is compressed.
        """
        for name, value in scope["headers"]:
            if name == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
                found = value.decode("latin-1")[:_MAX_SHOWN]
                detail = f"The body has the Content-Encoding {found!r}; expected an uncompressed body."
                raise Problem(415, detail, reason="encoding", headers=CLOSE)
        return await self.read(scope, receive, is_always_answered=is_always_answered)

    async def read(self, scope: Scope, receive: Receive, *, is_always_answered: bool = False) -> bytes:
        """The whole body of a request.

        Raises Problem: 413 beyond the limit, 408 if it takes too long, 503 if too much is being received from other
        clients, or if the server is overloaded unless the request `is_always_answered`. Raises Starlette's
        ClientDisconnect if the client has gone.
        """
        for name, value in scope["headers"]:  # before a client that waits for `100 Continue` sends anything
            if name == b"content-length" and value.isdigit() and (len(value) > 18 or int(value) > self.limit):
                raise self._too_large()
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(scope, receive)
        except TimeoutError:
            detail = f"The body took longer than the {self._seconds:g} s allowed (DQN_REQUEST_SECONDS)."
            raise Problem(408, detail, headers=CLOSE) from None
        if not is_always_answered:
            self._admission.check()
        return body

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        pieces: list[bytes] = []
        size = 0
        try:
            async for piece in Request(scope, receive).stream():
                pieces.append(piece)
                size += len(piece)
                self._held += len(piece)
                if size > self.limit:
                    raise self._too_large()
                if self._held > _MAX_HELD * self.limit:
                    detail = "The server is receiving too many large bodies at once; try again later."
                    raise Problem(503, detail, headers=(*RETRY_LATER, *CLOSE))
        finally:
            self._held -= size
        return b"".join(pieces)

    def _too_large(self) -> Problem:
        detail = f"The body is larger than the {self.limit} bytes allowed (DQN_MAX_BODY_BYTES)."
        return Problem(413, detail, reason="too_large", headers=CLOSE)
