"""What `OPTIONS` is answered: the methods that a path has."""

from starlette.types import Message, Send


class MethodsTold:
    """An ASGI `send` that makes of "this method is not allowed" the word of those that are."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_told = False

    async def __call__(self, message: Message) -> None:
        """Sends a message."""
        if message["type"] == "http.response.start" and message["status"] == 405:
            self._is_told = True
            allowed = next((value for name, value in message["headers"] if name == b"allow"), b"")
            methods = {b"OPTIONS", *(method.strip() for method in allowed.split(b",") if method)}
            methods |= {b"HEAD"} if b"GET" in methods else set()
            message = {**message, "status": 204, "headers": [(b"allow", b", ".join(sorted(methods)))]}
        elif self._is_told:
            message = {**message, "body": b""}
        await self._send(message)
