"""Reading a request's body without ever holding more of it than is allowed."""

from starlette.types import Receive, Scope

from serving.problems import Problem

CLIENT_GONE = 499  # nginx's number for it; only ever seen in the metrics


class DisconnectedError(Exception):
    """The client went away before its body was complete; there is nobody to answer."""


def _too_large(limit: int) -> Problem:
    return Problem(413, f"The body is larger than the {limit} bytes allowed (DQN_MAX_BODY_BYTES).", reason="too_large")


def _check_declared(scope: Scope, limit: int) -> None:
    """Refuses by the declared length, before a client that waits for `100 Continue` sends anything."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and (len(value) > 18 or int(value) > limit):
            raise _too_large(limit)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises Problem (413) beyond `limit` bytes, and DisconnectedError."""
    _check_declared(scope, limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body", False) and len(body) <= limit:
        return body
    chunks, size = [body], len(body)
    while message["type"] == "http.request":
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return b"".join(chunks)
        message = await receive()
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
    raise DisconnectedError
