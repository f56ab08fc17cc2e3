"""The protocol's part of `/openapi.json`: schemas from the messages' classes, and what an operation is."""

from typing import Any

import msgspec

from dqn_serving.api.documents import Document, problems, reference
from dqn_serving.api.oip import messages
from dqn_serving.api.oip.messages import InferAnswer, OutputTensor

_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_OBSERVATION = {"name": "observation", "shape": [1, 4], "datatype": "FP32", "data": [0.01, -0.02, 0.03, 0.04]}
_MASK = {"name": "action_mask", "shape": [1, 2], "datatype": "BOOL", "data": [True, False]}
_INFER_REQUESTS: Document = {
    "one observation": {"value": {"id": "42", "inputs": [_OBSERVATION]}},
    "exploring": {"value": {"inputs": [_OBSERVATION], "parameters": {"epsilon": 0.1, "seed": 7}}},
    "masked": {"value": {"inputs": [_OBSERVATION, _MASK]}},
    "only the action": {"value": {"inputs": [_OBSERVATION], "outputs": [{"name": "action"}]}},
}
_OUTPUTS = [OutputTensor("q_values", [1, 2], "FP32", data=[9.1, 9.4]), OutputTensor("action", [1], "INT64", data=[1])]


def operation(path: str, summary: str, example: Any, errors: tuple[int, ...]) -> Document:
    """A call; its answer is of the class of the `example`, or as Triton has it where that is a dict."""
    first = example[0] if isinstance(example, list) else example
    schema: Document = {"type": "object"} if isinstance(first, dict) else reference(type(first).__name__)
    if isinstance(example, list):
        schema = {"type": "array", "items": schema}
    content: Document = {"application/json": {"schema": schema, "example": msgspec.to_builtins(example)}}
    which = ("", " (the champion)", " (a version)")[path.count("{")]
    return {
        "tags": ["open inference protocol"],
        "summary": summary + which,
        "operationId": path.strip("/").replace("/", "_").replace("{", "").replace("}", ""),
        "responses": {"200": {"description": "Success.", "content": content}, **problems(*errors, is_oip=True)},
    }


def index_operation(path: str) -> Document:
    """The call that lists the repository."""
    example = [messages.IndexEntry("cartpole", "3", "READY", "")]
    request = {"schema": reference("IndexRequest"), "example": {"ready": True}}
    known = operation(path, "Every published version", example, (400, 413, 415, 422))
    return known | {"requestBody": {"required": False, "content": {"application/json": request}}}


def infer_operation(path: str) -> Document:
    """An infer call."""
    example = InferAnswer(model_name="cartpole", model_version="3", id="42", outputs=_OUTPUTS)
    known = operation(path, "Infer", example, (400, 413, 415, 422, 404, 503))
    known["responses"]["200"]["content"] |= _BINARY
    request = {"schema": reference("InferRequest"), "examples": _INFER_REQUESTS}
    return known | {
        "description": "With the header Inference-Header-Content-Length the tensors follow the JSON in binary.",
        "requestBody": {"required": True, "content": {"application/json": request, **_BINARY}},
    }
