"""Bodies of the calls that do not choose actions, and the errors in `/openapi.json`.

The classes of the bodies read, write and document them.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from dqn_serving.problems import MEDIA_TYPE, Problem


def _example(**fields: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [fields]})


class Alive(BaseModel):
    """The process answers."""

    model_config = _example(status="ok")

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """The default model's champion is loaded and warmed up."""

    model_config = _example(ready=True, model="cartpole", version=3)

    ready: Literal[True] = True
    model: str
    version: int


class ModelSummary(BaseModel):
    """A model in the repository, and its versions in memory."""

    model_config = _example(
        model="cartpole",
        is_default=True,
        champion=3,
        aliases={"champion": 3, "challenger": 4},
        versions=[1, 2, 3, 4],
        loaded_versions=[3],
        problem=None,
    )

    model: str
    is_default: bool = Field(description="whether calls that name no model mean this one")
    champion: int | None = Field(description="the version that answers now; null if there is none")
    aliases: dict[str, int] = Field(description="aliases as the repository had them at the last look")
    versions: list[int] = Field(description="published versions")
    loaded_versions: list[int] = Field(description="versions in memory: the champion and those that requests named")
    problem: str | None = Field(description="why no version answers; null if one does")


class ModelList(BaseModel):
    """Every model, sorted by name."""

    models: list[ModelSummary]


def _integer_of_json(value: Any) -> Any:
    """JSON has one kind of number, so 2.0 is 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class AliasChange(BaseModel):
    """The version that the alias is to name."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"version": 2}]})

    version: Annotated[int, BeforeValidator(_integer_of_json)] = Field(ge=1, lt=10**18)


class AliasChanged(BaseModel):
    """What the alias names now, what it named before, and which version answers."""

    model_config = _example(model="cartpole", alias="champion", version=2, previous=3, champion=2)

    model: str
    alias: str
    version: int
    previous: int | None
    champion: int | None


class RefreshAnswer(BaseModel):
    """The outcome of the look at the repository."""

    model_config = _example(model="cartpole", champion=4, outcome="refreshed", detail=None)

    model: str
    champion: int | None = Field(description="the version that answers now")
    outcome: Literal["refreshed", "unchanged", "failed"]
    detail: str | None = Field(description="why it failed; null if it did not")


class ProblemDocument(BaseModel):
    """An RFC 9457 problem."""

    type: str
    title: str
    status: int
    detail: str
    reason: str | None = Field(default=None, description="the kind of fault of a body that was refused")


# errors in the document: when each status comes, an example, and its headers

_ERRORS = {
    400: (
        "The body is not JSON, or the request is not HTTP.",
        "The body is not JSON: unexpected end of data.",
    ),
    401: (
        "The bearer token is missing or wrong.",
        "This call needs a bearer token of the server; none was sent.",
    ),
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
    431: (
        "The head has too many or too long fields.",
        "The head has more than the 128 fields or 65536 bytes allowed.",
    ),
    500: ("A fault of the server; its log says more.", "The server failed to answer; its log says why."),
    503: (
        "Not ready, or overloaded; `Retry-After` says when to try again.",
        "cartpole has no champion yet. Promote a version: dqn-models promote cartpole@VERSION",
    ),
}
_HEADERS_OF = {401: ("WWW-Authenticate",), 426: ("Upgrade",), 503: ("Retry-After",)}


def problems(*statuses: int) -> dict[int | str, Any]:
    """The responses of an operation that can answer with these problems."""
    return {status: problem_response(status, *_ERRORS[status]) for status in statuses}


def problem_response(status: int, meaning: str, detail: str) -> dict[str, Any]:
    """The response with a problem; `detail` is an example."""
    return _response(status, meaning, MEDIA_TYPE, "ProblemDocument", Problem(status, detail).document())


def oip_errors(*statuses: int) -> dict[str, Any]:
    """The same in the form of the Open Inference Protocol."""
    return {str(status): _oip_error(status, *_ERRORS[status]) for status in statuses}


def _oip_error(status: int, meaning: str, detail: str) -> dict[str, Any]:
    return _response(status, meaning, "application/json", "ErrorAnswer", {"error": detail})


def _response(status: int, meaning: str, media_type: str, schema: str, example: Any) -> dict[str, Any]:
    names = ("X-Request-ID", *_HEADERS_OF.get(status, ()))
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    content = {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}}
    return {"description": meaning, "headers": headers, "content": content}


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
