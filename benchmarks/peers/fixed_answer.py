"""The minimal ASGI application: a fixed response to every request."""

from starlette.types import Receive, Scope, Send

BODY = b'{"action":1,"model":"cartpole","version":1}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Responds immediately."""
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
