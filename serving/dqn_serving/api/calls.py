"""A call: its path, its endpoint and its operation in `/openapi.json`."""

import re
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from dqn_models.layout import ALIAS_NAME, MODEL_NAME
from dqn_serving.api.errors import is_oip
from dqn_serving.problems import MEDIA_TYPE, Answer, Problem, make_answer

Document = dict[str, Any]

_SCHEMA = "#/components/schemas/{name}"
# when each status is sent, and an example
_ERRORS: dict[int, tuple[str, str]] = {
    400: ("The body is not JSON, or the request is not HTTP.", "The body is not JSON: unexpected end of data."),
    401: ("The bearer token is missing or wrong.", "This call needs a valid bearer token; none was sent."),
    403: (
        "Admin calls are off: the server has no token.",
        "Admin calls are off: this server runs without DQN_API_TOKEN and DQN_API_TOKEN_FILE.",
    ),
    404: ("Unknown model, version or alias.", "There is no model 'lake' here; models are: cartpole."),
    408: ("The request arrived too slowly.", "The head took longer than the 10 s allowed (DQN_REQUEST_SECONDS)."),
    409: (
        "The version is damaged, or the repository changed meanwhile.",
        "model.onnx of cartpole version 2 differs from what was published.",
    ),
    413: (
        "The body or the batch is larger than allowed.",
        "The body is larger than the 4194304 bytes allowed (DQN_MAX_BODY_BYTES).",
    ),
    414: ("The URL is too long.", "The URL is longer than the 8192 bytes allowed."),
    415: (
        "The body has a Content-Encoding that this call does not support.",
        "Content-Encoding is 'br'; allowed are gzip and deflate.",
    ),
    422: (
        "The body is JSON but not valid; the detail says what was sent and what is expected.",
        "observation has shape [3]; cartpole version 3 expects [4].",
    ),
    431: (
        "The head is too long or has too many fields.",
        "The head has more than the 128 fields or 65536 bytes allowed.",
    ),
    500: ("The server failed; its log has the details.", "The server failed to answer; its log says why."),
    503: (
        "Not ready, or overloaded; `Retry-After` says when to try again.",
        "cartpole has no champion yet. Promote a version: dqn-models promote cartpole@VERSION",
    ),
}
_HEADERS_OF = {401: ("WWW-Authenticate",), 426: ("Upgrade",), 503: ("Retry-After",)}


_ANYWHERE = (400, 408, 414, 431, 500, 503)
_PATTERNS = {"model": f"^{MODEL_NAME.pattern}$", "alias": f"^{ALIAS_NAME.pattern}$"}

encode = msgspec.json.Encoder().encode


class CallRoute(Route):
    """A route that documents itself."""

    def __init__(
        self,
        method: str,
        path: str,
        endpoint: Callable[[Request], Awaitable[Any]],
        operation: Document | None = None,
    ) -> None:
        """`endpoint` returns the response; `operation` is the entry in `/openapi.json`, and None omits the call."""
        super().__init__(path, endpoint, methods=[method])
        self.method = method.lower()
        self.operation = operation

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            response = await endpoint(Request(scope, receive, send))
            await response(scope, receive, send)

        self.app = answer  # Starlette's own handles exceptions, as `AdmitRequests` already does


def get(path: str, call: Callable[[Request], Awaitable[Any]], operation: Document) -> CallRoute:
    """A GET that answers with the JSON of what `call` returns: a message's class, a dict, or a list of them."""

    async def answer(request: Request) -> Answer:
        return make_answer(encode(await call(request)))

    return CallRoute("GET", path, answer, operation)


def operation(path: str, name: str, tag: str, summary: str, answers: Document, *errors: int, **more: Any) -> Document:
    """An OpenAPI operation: `answers` by status, the statuses of its `errors`, and what all calls have in common.

    `name` identifies it among all calls; `more` holds further fields of the operation.
    """
    parameters = [_path_parameter(each, path) for each in re.findall(r"{(\w+)}", path)] + more.pop("parameters", [])
    responses = refusals(path, *_ANYWHERE, *errors) | answers
    known = {"tags": [tag], "summary": summary, "operationId": name, "responses": responses}
    return known | ({"parameters": parameters} if parameters else {}) | more


def refusals(path: str, *statuses: int) -> Document:
    """The responses with these errors, in the form of the path's API."""
    kind = "Error" if is_oip(path) else "Problem"
    return {str(status): {"$ref": f"#/components/responses/{kind}{status}"} for status in statuses}


def _path_parameter(name: str, path: str) -> Document:
    schema: Document = {"type": "string"}
    if name in _PATTERNS:
        schema["pattern"] = _PATTERNS[name]
    elif is_oip(path):  # versions are numbers here; elsewhere they may be aliases
        schema = {"type": "integer", "minimum": 1}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def success(example: Any, description: str = "Success.") -> Document:
    """The response 200, of the class of `example`, or any object if that is a dict."""
    first = example[0] if isinstance(example, list) else example
    schema: Document = {"type": "object"} if isinstance(first, dict) else reference(type(first).__name__)
    if isinstance(example, list):
        schema = {"type": "array", "items": schema}
    content = {"application/json": {"schema": schema, "example": msgspec.to_builtins(example)}}
    return {"200": {"description": description, "content": content}}


def reference(name: str) -> Document:
    """A reference to a schema."""
    return {"$ref": _SCHEMA.format(name=name)}


def components(messages: ModuleType) -> dict[str, Document]:
    """The schemas of a module's messages, by name."""
    kinds = [kind for kind in vars(messages).values() if getattr(kind, "__module__", None) == messages.__name__]
    structs = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    return msgspec.json.schema_components(structs, ref_template=_SCHEMA)[1]


def shared_responses() -> dict[str, Document]:
    """Every error that operations refer to, in both forms."""
    problems = {f"Problem{status}": problem_response(status, *texts) for status, texts in _ERRORS.items()}
    errors = {f"Error{status}": problem_response(status, *texts, is_oip=True) for status, texts in _ERRORS.items()}
    return problems | errors


def problem_response(status: int, meaning: str, detail: str, *, is_oip: bool = False) -> Document:
    """The response that carries a problem; `detail` is an example."""
    media_type, schema, example = MEDIA_TYPE, "ProblemDocument", Problem(status, detail).document()
    if is_oip:
        media_type, schema, example = "application/json", "ErrorAnswer", {"error": detail}
    headers = ("X-Request-ID", *_HEADERS_OF.get(status, ()))
    return {
        "description": meaning,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {media_type: {"schema": reference(schema), "example": example}},
    }
