"""Which pages of other origins may call from a browser: none, unless DQN_CORS_ORIGINS names them."""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_METHODS = ("GET", "POST", "PUT")
_SENT = (
    *("Authorization", "Content-Encoding", "Content-Type", "Inference-Header-Content-Length"),
    *("X-Request-ID", "traceparent", "tracestate"),
)
_READ = ("Inference-Header-Content-Length", "Retry-After", "X-Request-ID")
_PREFLIGHT_SECONDS = 600


def allow_origins(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """The application, answering preflight requests and telling browsers that these origins may read its answers.

    Tokens are sent in a header by who knows them; cookies are not used, so credentials stay forbidden.
    """

    async def app_with_own_messages(scope: Scope, receive: Receive, send: Send) -> None:
        # Answers are made once and sent often, but the middleware writes into what is sent.
        await app(scope, receive, lambda message: send(dict(message)))

    return CORSMiddleware(
        app_with_own_messages,
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=_SENT,
        expose_headers=_READ,
        max_age=_PREFLIGHT_SECONDS,
    )
