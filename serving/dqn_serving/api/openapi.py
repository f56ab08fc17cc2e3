"""`/openapi.json`: the operations of all routes, those of FastAPI and those that document themselves."""

import re

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from dqn_models.layout import ALIAS_NAME, MODEL_NAME
from dqn_serving.api import responses, schemas
from dqn_serving.api.documents import HEADERS, Document, components, problems, reference
from dqn_serving.api.errors import is_oip
from dqn_serving.api.oip import messages
from dqn_serving.api.schemas import ActAnswer, ActBatchAnswer, QValuesAnswer, QValuesBatchAnswer
from dqn_serving.api.stream import frames
from dqn_serving.http.middleware import CallRoute
from dqn_serving.security.auth import OPEN_PATHS

_OBSERVATION = [0.01, -0.02, 0.03, 0.04]
_REQUESTS: Document = {
    "one observation": {"observation": _OBSERVATION},
    "a batch": {"observations": [_OBSERVATION, [0.0, 0.5, -0.1, 0.2]]},
    "exploring": {"observation": _OBSERVATION, "epsilon": 0.1, "seed": 7},
    "masked, by version 2": {"observation": _OBSERVATION, "action_mask": [True, False], "version": 2},
}
_ANSWERS = {
    "act": (ActAnswer(1, "cartpole", 3), ActBatchAnswer([1, 0], "cartpole", 3)),
    "q-values": (
        QValuesAnswer([9.1, 9.4], 1, "cartpole", 3),
        QValuesBatchAnswer([[9.1, 9.4], [8.7, 8.2]], [1, 0], "cartpole", 3),
    ),
}
_ANYWHERE = (400, 408, 414, 431, 500, 503)
_NUMBERS: Document = {
    "description": "A number within float32, or lists of them, nested as the shape says.",
    "anyOf": [
        {"type": "number", "minimum": -3.4028234663852886e38, "maximum": 3.4028234663852886e38},
        {"type": "array", "items": schemas.NUMBERS_REF},
    ],
}
_PATTERNS = {"model": f"^{MODEL_NAME.pattern}$", "alias": f"^{ALIAS_NAME.pattern}$"}


def describe(app: FastAPI, *, token_needed: bool, max_batch_size: int) -> Document:
    """The whole document, for a server with these settings.

    The one server in it is the folder of the document itself, so that it holds below a proxy's prefix as well.
    """
    document: Document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, servers=[{"url": "."}]
    )
    shared = document["components"]
    shared["schemas"] |= _schemas(max_batch_size) | components(messages) | components(frames)
    for unused in ("HTTPValidationError", "ValidationError"):
        shared["schemas"].pop(unused, None)
    shared["headers"] = HEADERS
    shared["responses"] = {f"Problem{status}": response for status, response in problems(*_ANYWHERE).items()}
    errors = problems(*_ANYWHERE, is_oip=True)
    shared["responses"] |= {f"Error{status}": response for status, response in errors.items()}
    shared["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for route in app.routes:
        if isinstance(route, CallRoute) and route.include_in_schema:
            document["paths"].setdefault(route.path, {})[route.method.lower()] = dict(route.operation)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _finish(path, operation, token_needed=token_needed)
    return document


def _schemas(max_batch_size: int) -> Document:
    found = components(schemas)
    found["ActRequest"]["properties"]["observations"]["maxItems"] = max_batch_size
    found["ActRequest"]["oneOf"] = [{"required": ["observation"]}, {"required": ["observations"]}]
    found[schemas.NUMBERS] = _NUMBERS
    # FastAPI drops what is null in an example, and does not know the classes that it does not use itself.
    for kind in responses.DOCUMENTED:
        found[kind.__name__] = kind.model_json_schema()
    return found


def act_operation(path: str) -> Document:
    """What the document says of `/act`, `/q-values` or one of them below `/models/{model}`."""
    named, call = path.startswith("/models/"), path.rpartition("/")[2]
    summary = "Choose an action" if call == "act" else "Q-values and the action chosen"
    answers = dict(zip(("one observation", "a batch"), _ANSWERS[call], strict=True))
    answer = {
        "schema": {"anyOf": [reference(type(example).__name__) for example in answers.values()]},
        "examples": {name: {"value": msgspec.to_builtins(example)} for name, example in answers.items()},
    }
    requests = {name: {"value": value} for name, value in _REQUESTS.items()}
    request = {"schema": reference("ActRequest"), "examples": requests}
    meaning = "The action, or the actions in the order of the batch."
    return {
        "tags": ["act"],
        "summary": summary + (" by a named model" if named else ""),
        "operationId": f"{'model_' if named else ''}{call.replace('-', '_')}",
        "requestBody": {"required": True, "content": {"application/json": request}},
        "responses": {
            "200": {"description": meaning, "content": {"application/json": answer}},
            **problems(400, 404, 413, 415, 422, 503),
        },
    }


def _finish(path: str, operation: Document, *, token_needed: bool) -> None:
    """Adds what holds for all calls, and drops FastAPI's own 422, which the calls without a body never answer."""
    answers = operation["responses"] = dict(operation["responses"])
    in_path = [_path_parameter(name, path) for name in re.findall(r"{(\w+)}", path)]
    elsewhere = [parameter for parameter in operation.get("parameters", []) if parameter["in"] != "path"]
    if in_path or elsewhere:
        operation["parameters"] = in_path + elsewhere
    if "requestBody" not in operation and operation.get("tags") != ["stream"]:
        answers.pop("422", None)
    if operation.get("tags") == ["admin"] or (token_needed and path not in OPEN_PATHS):
        operation["security"] = [{"token": []}]
        answers.setdefault("401", problems(401, is_oip=is_oip(path))["401"])
    form = "Error" if is_oip(path) else "Problem"
    for status in _ANYWHERE:
        answers.setdefault(str(status), {"$ref": f"#/components/responses/{form}{status}"})


def _path_parameter(name: str, path: str) -> Document:
    schema: Document = {"type": "string"}
    if name in _PATTERNS:
        schema["pattern"] = _PATTERNS[name]
    elif is_oip(path):  # where versions are numbers; elsewhere they may be names of aliases
        schema = {"type": "integer", "minimum": 1}
    return {"name": name, "in": "path", "required": True, "schema": schema}
