"""The least that an ASGI server can do: a fixed answer, whatever is asked."""

from starlette.types import Receive, Scope, Send

BODY = b'{"action":1,"model":"cartpole","version":1}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers at once."""
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
