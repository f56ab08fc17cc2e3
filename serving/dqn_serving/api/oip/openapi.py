"""The protocol's part of `/openapi.json`, from the classes that decode and encode its messages."""

from typing import Any

import msgspec

from dqn_serving.api.oip import messages
from dqn_serving.api.oip.metadata import EXTENSIONS, PLATFORM
from dqn_serving.api.problem_documents import error_headers

Document = dict[str, Any]

_REF = "#/components/schemas/{name}"
_OBJECT: Document = {"type": "object"}
_MODEL = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}
_OBSERVATION = {"name": "observation", "shape": [1, 4], "datatype": "FP32", "data": [0.01, -0.02, 0.03, 0.04]}
_MASK = {"name": "action_mask", "shape": [1, 2], "datatype": "BOOL", "data": [True, False]}
_TENSOR = {"name": "observation", "datatype": "FP32", "shape": [-1, 4]}
_REQUESTS: Document = {
    "one observation": {"id": "42", "inputs": [_OBSERVATION]},
    "exploring": {"inputs": [_OBSERVATION], "parameters": {"epsilon": 0.1, "seed": 7}},
    "masked": {"inputs": [_OBSERVATION, _MASK]},
    "only the action": {"inputs": [_OBSERVATION], "outputs": [{"name": "action"}]},
}
_ANSWER: Document = {
    "model_name": "cartpole",
    "model_version": "3",
    "id": "42",
    "outputs": [
        {"name": "q_values", "shape": [1, 2], "datatype": "FP32", "data": [9.1, 9.4]},
        {"name": "action", "shape": [1], "datatype": "INT64", "data": [1]},
    ],
}
_ERRORS = {
    400: (
        "The body is not JSON, or not as its headers say, or the request is not HTTP.",
        "The body is not JSON: unexpected end of data.",
    ),
    401: ("The bearer token is missing or wrong.", "This call needs a bearer token of the server; none was sent."),
    404: ("Unknown model or version.", "There is no model 'lake' here; models are: cartpole."),
    408: (
        "The request came too slowly.",
        "The head took longer than the 10 s allowed (DQN_REQUEST_SECONDS).",
    ),
    413: ("The body or the batch is larger than allowed.", "The body is larger than the 4194304 bytes allowed."),
    414: ("The URL is too long.", "The URL is longer than the 8192 bytes allowed."),
    415: ("Unknown Content-Encoding.", "Content-Encoding is 'br'; allowed are gzip and deflate."),
    422: ("The request does not fit.", "observation has shape [1, 3]; cartpole version 3 expects [batch, 4]."),
    431: (
        "The head has too many or too long fields.",
        "The head has more than the 128 fields or 65536 bytes allowed.",
    ),
    500: ("A fault of the server; its log says more.", "The server failed to answer; its log says why."),
    503: ("Not ready, or overloaded; `Retry-After` says when to try again.", "cartpole has no champion yet."),
}
_BODY_ERRORS = (400, 413, 415, 422)
_METADATA = {
    "name": "cartpole",
    "versions": ["1", "2", "3"],
    "platform": PLATFORM,
    "inputs": [_TENSOR],
    "outputs": [{"name": "q_values", "datatype": "FP32", "shape": [-1, 2]}],
}
_CONFIG = {"name": "cartpole", "platform": PLATFORM, "max_batch_size": 4096}
_STATISTICS = {"model_stats": [{"name": "cartpole", "version": "3", "inference_count": 12, "execution_count": 3}]}
_SERVER_CALLS: list[tuple[str, str, Document, Any, tuple[int, ...]]] = [
    (
        "/v2",
        "Server metadata",
        {"$ref": _REF.format(name="ServerMetadata")},
        {"name": "dqn-policy-server", "version": "0.1.0", "extensions": EXTENSIONS},
        (),
    ),
    ("/v2/health/live", "Is the process alive?", {"$ref": _REF.format(name="Live")}, {"live": True}, ()),
    ("/v2/health/ready", "Can it infer?", {"$ref": _REF.format(name="ServerReady")}, {"ready": True}, (503,)),
    ("/v2/models/stats", "Statistics of every loaded version", _OBJECT, _STATISTICS, ()),
]
_MODEL_CALLS: list[tuple[str, str, Document, Any, tuple[int, ...]]] = [
    ("", "Model metadata", {"$ref": _REF.format(name="ModelMetadata")}, _METADATA, (404, 503)),
    (
        "/ready",
        "Can it infer?",
        {"$ref": _REF.format(name="ModelReady")},
        {"name": "cartpole", "ready": True},
        (404, 503),
    ),
    ("/config", "Model configuration, as Triton's", _OBJECT, _CONFIG, (404, 503)),
    ("/stats", "Statistics, as Triton's", _OBJECT, _STATISTICS, (404,)),
]
_ROOTS = {"/v2/models/{model}": [_MODEL], "/v2/models/{model}/versions/{version}": [_MODEL, _VERSION]}


def add_protocol(document: Document) -> None:
    """Adds the protocol's calls and schemas to the document."""
    documented = [messages.InferRequest, messages.InferAnswer, messages.IndexRequest, messages.IndexEntry]
    documented += [messages.Live, messages.ServerReady, messages.ModelReady, messages.ErrorAnswer]
    documented += [messages.ServerMetadata, messages.ModelMetadata]
    _, schemas = msgspec.json.schema_components(documented, ref_template=_REF)
    document["components"]["schemas"].update(schemas)
    paths = document["paths"]
    for path, summary, schema, example, errors in _SERVER_CALLS:
        paths[path] = {"get": _operation(path, summary, schema, example, errors)}
    paths["/v2/repository/index"] = {"post": _index()}
    for root, parameters in _ROOTS.items():
        named = "a version" if _VERSION in parameters else "the champion"
        for tail, summary, schema, example, errors in _MODEL_CALLS:
            operation = _operation(f"{root}{tail}", f"{summary} ({named})", schema, example, errors)
            paths[f"{root}{tail}"] = {"get": operation | {"parameters": parameters}}
        paths[f"{root}/infer"] = {"post": _infer(f"{root}/infer", named) | {"parameters": parameters}}


def error_response(status: int) -> Document:
    """What is said of an error of the protocol."""
    meaning, example = _ERRORS[status]
    schema = {"$ref": _REF.format(name="ErrorAnswer")}
    content = {"application/json": {"schema": schema, "example": {"error": example}}}
    return {"description": meaning, "headers": error_headers(status), "content": content}


def _operation(path: str, summary: str, schema: Document, example: Any, errors: tuple[int, ...]) -> Document:
    content: Document = {"application/json": {"schema": schema, "example": example}}
    return {
        "tags": ["open inference protocol"],
        "summary": summary,
        "operationId": path.strip("/").replace("/", "_").replace("{", "").replace("}", ""),
        "responses": {
            "200": {"description": "As asked for.", "content": content},
            **{str(status): error_response(status) for status in errors},
        },
    }


def _index() -> Document:
    example = [{"name": "cartpole", "version": "3", "state": "READY", "reason": ""}]
    schema = {"type": "array", "items": {"$ref": _REF.format(name="IndexEntry")}}
    operation = _operation("/v2/repository/index", "Every published version", schema, example, _BODY_ERRORS)
    request = {"schema": {"$ref": _REF.format(name="IndexRequest")}, "example": {"ready": True}}
    return operation | {"requestBody": {"required": False, "content": {"application/json": request}}}


def _infer(path: str, named: str) -> Document:
    schema = {"$ref": _REF.format(name="InferAnswer")}
    operation = _operation(path, f"Infer ({named})", schema, _ANSWER, (*_BODY_ERRORS, 404, 503))
    examples = {name: {"value": value} for name, value in _REQUESTS.items()}
    request = {"schema": {"$ref": _REF.format(name="InferRequest")}, "examples": examples}
    binary = {"schema": {"type": "string", "format": "binary"}}
    content = operation["responses"]["200"]["content"]
    content["application/octet-stream"] = binary
    return operation | {
        "description": "With the header Inference-Header-Content-Length the tensors follow the JSON in binary.",
        "requestBody": {
            "required": True,
            "content": {"application/json": request, "application/octet-stream": binary},
        },
    }
