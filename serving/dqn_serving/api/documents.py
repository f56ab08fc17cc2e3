"""The parts that all operations of `/openapi.json` share: references, parameters of paths, and errors in both forms."""

from types import ModuleType
from typing import Any

import msgspec

from dqn_serving.problems import MEDIA_TYPE, Problem

Document = dict[str, Any]

_REF = "#/components/schemas/{name}"
# when each status comes, and an example
_ERRORS = {
    400: ("The body is not JSON, or the request is not HTTP.", "The body is not JSON: unexpected end of data."),
    401: ("The bearer token is missing or wrong.", "This call needs a bearer token of the server; none was sent."),
    403: (
        "Admin calls are off: the server has no token.",
        "Admin calls are off: this server runs without DQN_API_TOKEN and DQN_API_TOKEN_FILE.",
    ),
    404: ("Unknown model, version or alias.", "There is no model 'lake' here; models are: cartpole."),
    408: ("The request came too slowly.", "The head took longer than the 10 s allowed (DQN_REQUEST_SECONDS)."),
    409: (
        "The version is damaged, or the repository changed meanwhile.",
        "model.onnx of cartpole version 2 is not what was published.",
    ),
    413: (
        "The body or the batch is larger than allowed.",
        "The body is larger than the 4194304 bytes allowed (DQN_MAX_BODY_BYTES).",
    ),
    414: ("The URL is too long.", "The URL is longer than the 8192 bytes allowed."),
    415: (
        "The body has a Content-Encoding that this call does not know.",
        "Content-Encoding is 'br'; allowed are gzip and deflate.",
    ),
    422: (
        "The body is JSON but does not fit; the detail says what was sent and what is expected.",
        "observation has shape [3]; cartpole version 3 expects [4].",
    ),
    431: ("The head has too many or too long fields.", "The head has more than the 128 fields or 65536 bytes allowed."),
    500: ("A fault of the server; its log says more.", "The server failed to answer; its log says why."),
    503: (
        "Not ready, or overloaded; `Retry-After` says when to try again.",
        "cartpole has no champion yet. Promote a version: dqn-models promote cartpole@VERSION",
    ),
}
_HEADERS_OF = {401: ("WWW-Authenticate",), 426: ("Upgrade",), 503: ("Retry-After",)}


def reference(name: str) -> Document:
    """A reference to a schema."""
    return {"$ref": _REF.format(name=name)}


def components(messages: ModuleType) -> dict[str, Document]:
    """The schemas of a module's messages, by name."""
    kinds = [kind for kind in vars(messages).values() if getattr(kind, "__module__", None) == messages.__name__]
    structs = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    return msgspec.json.schema_components(structs, ref_template=_REF)[1]


def problems(*statuses: int, is_oip: bool = False) -> dict[int | str, Document]:
    """The responses of an operation that can answer with these problems, in the form of its API."""
    return {str(status): problem_response(status, *_ERRORS[status], is_oip=is_oip) for status in statuses}


def problem_response(status: int, meaning: str, detail: str, *, is_oip: bool = False) -> Document:
    """The response with a problem; `detail` is an example."""
    media_type, schema, example = MEDIA_TYPE, "ProblemDocument", Problem(status, detail).document()
    if is_oip:
        media_type, schema, example = "application/json", "ErrorAnswer", {"error": detail}
    headers = {
        name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", *_HEADERS_OF.get(status, ()))
    }
    return {
        "description": meaning,
        "headers": headers,
        "content": {media_type: {"schema": reference(schema), "example": example}},
    }


def _header(description: str, **schema: Any) -> Document:
    return {"description": description, "required": True, "schema": schema}


HEADERS: dict[str, Document] = {
    "X-Request-ID": _header(
        "The one that the request had, or a new one; the log has it, too.", type="string", pattern="^[!-~]{1,128}$"
    ),
    "Retry-After": _header("Seconds to wait before the next try.", type="integer", minimum=0),
    "Upgrade": _header("What the connection must become: a WebSocket.", const="websocket"),
    "WWW-Authenticate": _header("The scheme that is asked for: Bearer.", type="string"),
}
"""Components of the document."""
