"""The answer to one request on its way out."""

from starlette.types import Message, Send

from dqn_serving.problems import CLOSE
from dqn_serving.telemetry.request_context import REQUEST_ID, Correlation

SERVED = "dqn.served"
"""Where the scope of an answered request says what answered it."""


class Reply:
    """An ASGI `send` that adds what concerns the request and its connection, and keeps it until it is counted.

    What is counted only after it was sent is lost where the worker is killed in between.
    """

    def __init__(self, send: Send, correlation: Correlation, *, is_named: bool, is_last: bool) -> None:
        """`is_named`: the client is told the request's id even if all went well; `is_last`: the connection ends."""
        self._send = send
        self._request_id = (correlation.request_id or "").encode()
        self._is_named = is_named
        self._is_last = is_last
        self._messages: list[Message] = []
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        """Takes a message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = self._headers(message["status"])
            message = {**message, "headers": [*(header for header in message["headers"] if header not in own), *own]}
        self._messages.append(message)

    async def send(self) -> None:
        """Sends what it has."""
        for message in self._messages:
            await self._send(message)

    def _headers(self, status: int) -> list[tuple[bytes, bytes]]:
        headers = [(REQUEST_ID, self._request_id)] if self._is_named or status >= 400 else []
        return [*headers, *CLOSE] if self._is_last else headers
