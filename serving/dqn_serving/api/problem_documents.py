"""What `/openapi.json` says of problems: when each status comes, an example, and its headers."""

from typing import Any

from pydantic import BaseModel, Field

from dqn_serving.problems import MEDIA_TYPE, Problem


class ProblemDocument(BaseModel):
    """An RFC 9457 problem."""

    type: str
    title: str
    status: int
    detail: str
    reason: str | None = Field(default=None, description="the kind of fault of a body that was refused")


_MEANINGS = {
    400: "The body is not JSON, or the request is not HTTP.",
    401: "The bearer token is missing or wrong.",
    403: "Admin calls are off: the server has no token.",
    404: "Unknown model, version or alias.",
    408: "The request came too slowly.",
    409: "The version is damaged, or the repository changed meanwhile.",
    413: "The body or the batch is larger than allowed.",
    414: "The URL is too long.",
    422: "The body is JSON but not what is expected; the detail says what was sent and what is expected.",
    431: "The head has too many or too long fields.",
    500: "A fault of the server; its log says more.",
    503: "Not ready, or overloaded; `Retry-After` says when to try again.",
}
_EXAMPLES = {
    400: "The body is not JSON: Expecting value: line 1 column 1 (char 0).",
    401: "This call needs a bearer token of the server; none was sent.",
    403: "Admin calls are off: this server runs without DQN_API_TOKEN and DQN_API_TOKEN_FILE.",
    404: "There is no model 'lake' here; models are: cartpole.",
    408: "The head took longer than the 10 s allowed (DQN_REQUEST_SECONDS).",
    409: "model.onnx of cartpole version 2 is not what was published.",
    413: "The body is larger than the 4194304 bytes allowed (DQN_MAX_BODY_BYTES).",
    414: "The URL is longer than the 8192 bytes allowed.",
    422: "observation has shape [3]; cartpole version 3 expects [4].",
    431: "The head has more than the 128 fields or 65536 bytes allowed.",
    500: "The server failed to answer; its log says why.",
    503: "cartpole has no champion yet. Promote a version: dqn-models promote cartpole@VERSION",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of an operation that can answer with these problems."""
    return {status: problem_response(status, _MEANINGS[status], _EXAMPLES[status]) for status in statuses}


def problem_response(status: int, meaning: str, detail: str) -> dict[str, Any]:
    """The response with a problem; `detail` is an example."""
    content = {
        "schema": {"$ref": "#/components/schemas/ProblemDocument"},
        "example": Problem(status, detail).document(),
    }
    return {"description": meaning, "headers": error_headers(status), "content": {MEDIA_TYPE: content}}


def error_headers(status: int) -> dict[str, Any]:
    """The headers of an error with this status."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", *_HEADERS_OF.get(status, ()))}


_HEADERS_OF = {401: ("WWW-Authenticate",), 426: ("Upgrade",), 503: ("Retry-After",)}
HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The one that the request had, or a new one; the log has it, too.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
    },
    "Retry-After": {
        "description": "Seconds to wait before the next try.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "Upgrade": {
        "description": "What the connection must become: a WebSocket.",
        "required": True,
        "schema": {"const": "websocket"},
    },
    "WWW-Authenticate": {
        "description": "The scheme that is asked for: Bearer.",
        "required": True,
        "schema": {"type": "string"},
    },
}
"""Components of the document."""
