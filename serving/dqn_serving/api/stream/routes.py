"""What a call to a stream's path gets that is plain HTTP: word that it must be upgraded."""

from fastapi import APIRouter

from dqn_serving.api.stream.streams import DEFAULT_TEMPLATE, NAMED_TEMPLATE
from dqn_serving.problems import Header, Problem

UPGRADE: tuple[Header, ...] = ((b"upgrade", b"websocket"), (b"connection", b"upgrade"))


def stream_router() -> APIRouter:
    """`GET /act/stream` and `/models/{model}/act/stream` without an upgrade."""
    router = APIRouter(include_in_schema=False)

    @router.get(DEFAULT_TEMPLATE)
    @router.get(NAMED_TEMPLATE)
    async def stream() -> None:
        raise Problem(426, "This is a stream: connect to it with a WebSocket client.", headers=UPGRADE)

    return router
