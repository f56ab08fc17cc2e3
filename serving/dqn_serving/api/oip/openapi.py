"""The protocol's part of `/openapi.json`: schemas from the messages' classes, examples, and what an operation is."""

from typing import Any

import msgspec

from dqn_serving.api.oip import messages
from dqn_serving.api.oip.metadata import EXTENSIONS, PLATFORM
from dqn_serving.api.responses import oip_errors

Document = dict[str, Any]

_REF = "#/components/schemas/{name}"
_PARAMETERS: dict[str, Document] = {
    "{model}": {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}},
    "{version}": {"name": "version", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}},
}
_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_OBSERVATION = {"name": "observation", "shape": [1, 4], "datatype": "FP32", "data": [0.01, -0.02, 0.03, 0.04]}
_MASK = {"name": "action_mask", "shape": [1, 2], "datatype": "BOOL", "data": [True, False]}
_TENSOR = {"name": "observation", "datatype": "FP32", "shape": [-1, 4]}

INFER_REQUESTS: Document = {
    "one observation": {"value": {"id": "42", "inputs": [_OBSERVATION]}},
    "exploring": {"value": {"inputs": [_OBSERVATION], "parameters": {"epsilon": 0.1, "seed": 7}}},
    "masked": {"value": {"inputs": [_OBSERVATION, _MASK]}},
    "only the action": {"value": {"inputs": [_OBSERVATION], "outputs": [{"name": "action"}]}},
}
INFER_ANSWER: Document = {
    "model_name": "cartpole",
    "model_version": "3",
    "id": "42",
    "outputs": [
        {"name": "q_values", "shape": [1, 2], "datatype": "FP32", "data": [9.1, 9.4]},
        {"name": "action", "shape": [1], "datatype": "INT64", "data": [1]},
    ],
}
SERVER: Document = {"name": "dqn-policy-server", "version": "0.1.0", "extensions": EXTENSIONS}
METADATA: Document = {
    "name": "cartpole",
    "versions": ["1", "2", "3"],
    "platform": PLATFORM,
    "inputs": [_TENSOR],
    "outputs": [{"name": "q_values", "datatype": "FP32", "shape": [-1, 2]}],
}
CONFIG: Document = {"name": "cartpole", "platform": PLATFORM, "max_batch_size": 4096}
STATISTICS: Document = {
    "model_stats": [{"name": "cartpole", "version": "3", "inference_count": 12, "execution_count": 3}]
}
INDEX: list[Document] = [{"name": "cartpole", "version": "3", "state": "READY", "reason": ""}]


def schemas() -> Document:
    """The components of the messages, by name."""
    documented = [messages.InferRequest, messages.InferAnswer, messages.IndexRequest, messages.IndexEntry]
    documented += [messages.Live, messages.ServerReady, messages.ModelReady, messages.ErrorAnswer]
    documented += [messages.ServerMetadata, messages.ModelMetadata]
    return msgspec.json.schema_components(documented, ref_template=_REF)[1]


def operation(path: str, summary: str, answer: type | None, example: Any, errors: tuple[int, ...]) -> Document:
    """A call; `answer` is the class of its answer, None if that is as Triton has it.

    An `example` that is a list is of a list of such answers.
    """
    schema: Document = {"type": "object"} if answer is None else {"$ref": _REF.format(name=answer.__name__)}
    if isinstance(example, list):
        schema = {"type": "array", "items": schema}
    content: Document = {"application/json": {"schema": schema, "example": example}}
    parameters = [parameter for part, parameter in _PARAMETERS.items() if part in path]
    which = ("", " (the champion)", " (a version)")[len(parameters)]
    return {
        "tags": ["open inference protocol"],
        "summary": summary + which,
        "operationId": path.strip("/").replace("/", "_").replace("{", "").replace("}", ""),
        "responses": {"200": {"description": "Success.", "content": content}, **oip_errors(*errors)},
    } | ({"parameters": parameters} if parameters else {})


def index_operation(path: str) -> Document:
    """The call that lists the repository."""
    request = {"schema": {"$ref": _REF.format(name="IndexRequest")}, "example": {"ready": True}}
    body = {"required": False, "content": {"application/json": request}}
    known = operation(path, "Every published version", messages.IndexEntry, INDEX, (400, 413, 415, 422))
    return known | {"requestBody": body}


def infer_operation(path: str) -> Document:
    """An infer call."""
    errors = (400, 413, 415, 422, 404, 503)
    known = operation(path, "Infer", messages.InferAnswer, INFER_ANSWER, errors)
    known["responses"]["200"]["content"] |= _BINARY
    request = {"schema": {"$ref": _REF.format(name="InferRequest")}, "examples": INFER_REQUESTS}
    return known | {
        "description": "With the header Inference-Header-Content-Length the tensors follow the JSON in binary.",
        "requestBody": {"required": True, "content": {"application/json": request, **_BINARY}},
    }
