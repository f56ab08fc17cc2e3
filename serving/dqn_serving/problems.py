"""Every error of the API in one place: RFC 9457 problem documents, and which status an error of `dqn_models` gets."""

import json
from http import HTTPStatus
from typing import Literal, NamedTuple

from starlette.types import Receive, Scope, Send

from dqn_models.errors import ModelError, NotFoundError, PromotionError

Header = tuple[bytes, bytes]
Reason = Literal[
    "not_json",
    "not_msgpack",
    "encoding",
    "too_large",
    "fields",
    "shape",
    "type",
    "non_finite",
    "out_of_range",
    "version",
    "epsilon",
    "seed",
    "action_mask",
    "overflow",
]
"""Why a body was rejected: the value of `reason` in the problem and in `dqn_observations_rejected_total`."""

MEDIA_TYPE = "application/problem+json"
# RFC 9110's; Python's changed with 3.13
_TITLES = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}
RETRY_LATER: tuple[Header, ...] = ((b"retry-after", b"1"),)
CLOSE: tuple[Header, ...] = ((b"connection", b"close"),)
"""For an answer that is sent before all of its request has arrived."""


class Served(NamedTuple):
    """The model and version that answered."""

    model: str
    version: int


SERVED = "dqn.served"
"""Key of the version that answered, in the ASGI scope of an answered request."""


class Answer(NamedTuple):
    """A complete response. It is an ASGI application, and may be sent any number of times."""

    status: int
    headers: tuple[Header, ...]
    body: bytes
    wire: bytes
    """Headers and body as sent over HTTP/1.1."""
    served: Served | None = None

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Sends the response."""
        scope[SERVED] = self.served
        await send({"type": "http.response.start", "status": self.status, "headers": list(self.headers)})
        await send({"type": "http.response.body", "body": self.body})


class Problem(Exception):  # noqa: N818  (RFC 9457's word)
    """An error response, raised where the error is detected."""

    def __init__(
        self, status: int, detail: str, *, reason: Reason | None = None, headers: tuple[Header, ...] = ()
    ) -> None:
        """`detail` is one sentence that says what was sent and what is expected."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.reason = reason
        self.headers = headers or (RETRY_LATER if status == HTTPStatus.SERVICE_UNAVAILABLE else ())

    def document(self) -> dict[str, str | int]:
        """The problem document."""
        title = _TITLES.get(self.status) or HTTPStatus(self.status).phrase
        fields: dict[str, str | int] = {"type": "about:blank", "title": title, "status": self.status}
        return fields | {"detail": self.detail} | ({"reason": self.reason} if self.reason else {})

    def answer(self) -> Answer:
        """The response that carries this problem."""
        body = json.dumps(self.document()).encode()  # ASCII only, so what a client sent cannot break the encoding
        return make_answer(body, self.status, MEDIA_TYPE.encode(), self.headers)


def make_answer(
    body: bytes,
    status: int = 200,
    content_type: bytes = b"application/json",
    headers: tuple[Header, ...] = (),
    served: Served | None = None,
) -> Answer:
    """A complete response."""
    fields = ((b"content-type", content_type), (b"content-length", b"%d" % len(body)), *headers)
    wire = b"".join([b"%b: %b\r\n" % field for field in fields]) + b"\r\n" + body
    return Answer(status, fields, body, wire, served)


def from_model_error(error: ModelError) -> Problem:
    """The problem that a client gets for a repository error: 404 if not found, 409 in conflict, else 503."""
    if isinstance(error, NotFoundError):
        return Problem(404, str(error))
    if isinstance(error, PromotionError):
        return Problem(409, str(error))
    return Problem(503, str(error))


def internal_error() -> Problem:
    """The response to an unexpected error of the server; the log has the details."""
    return Problem(500, "The server failed to answer; its log says why.")
