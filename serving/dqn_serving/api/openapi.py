"""`/openapi.json`: the operations of all routes, those of FastAPI and those that document themselves."""

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from dqn_models.layout import ALIAS_NAME, MODEL_NAME
from dqn_serving.api.errors import is_oip
from dqn_serving.api.oip import openapi as oip
from dqn_serving.api.responses import (
    HEADERS,
    AliasChange,
    AliasChanged,
    ModelSummary,
    ProblemDocument,
    RefreshAnswer,
    oip_errors,
    problems,
)
from dqn_serving.api.schemas import NUMBERS, ActAnswer, ActBatchAnswer, ActRequest, QValuesAnswer, QValuesBatchAnswer
from dqn_serving.api.stream import routes as streams
from dqn_serving.http.middleware import CallRoute
from dqn_serving.security.auth import OPEN_PATHS

Document = dict[str, Any]

_REF = "#/components/schemas/{name}"
_REQUESTS: Document = {
    "one observation": {"observation": [0.01, -0.02, 0.03, 0.04]},
    "a batch": {"observations": [[0.01, -0.02, 0.03, 0.04], [0.0, 0.5, -0.1, 0.2]]},
    "exploring": {"observation": [0.01, -0.02, 0.03, 0.04], "epsilon": 0.1, "seed": 7},
    "masked, by version 2": {"observation": [0.01, -0.02, 0.03, 0.04], "action_mask": [True, False], "version": 2},
}
_ACT: list[tuple[type, Document]] = [
    (ActAnswer, {"action": 1, "model": "cartpole", "version": 3}),
    (ActBatchAnswer, {"actions": [1, 0], "model": "cartpole", "version": 3}),
]
_Q_VALUES: list[tuple[type, Document]] = [
    (QValuesAnswer, {"q_values": [9.1, 9.4], "action": 1, "model": "cartpole", "version": 3}),
    (QValuesBatchAnswer, {"q_values": [[9.1, 9.4], [8.7, 8.2]], "actions": [1, 0], "model": "cartpole", "version": 3}),
]
_ANYWHERE = (400, 408, 414, 431, 500, 503)
_NUMBERS: Document = {
    "description": "A number within float32, or lists of them, nested as the shape says.",
    "anyOf": [
        {"type": "number", "minimum": -3.4028234663852886e38, "maximum": 3.4028234663852886e38},
        {"type": "array", "items": {"$ref": _REF.format(name=NUMBERS)}},
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
    components = document["components"]
    components["schemas"] |= _schemas(max_batch_size) | oip.schemas() | streams.schemas()
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    components["headers"] = HEADERS
    components["responses"] = {f"Problem{status}": response for status, response in problems(*_ANYWHERE).items()}
    components["responses"] |= {f"Error{status}": response for status, response in oip_errors(*_ANYWHERE).items()}
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for route in app.routes:
        if isinstance(route, CallRoute) and route.include_in_schema:
            document["paths"].setdefault(route.path, {})[route.method.lower()] = dict(route.operation)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _finish(path, operation, token_needed=token_needed)
    return document


def _schemas(max_batch_size: int) -> Document:
    answers = [ActAnswer, ActBatchAnswer, QValuesAnswer, QValuesBatchAnswer]
    _, schemas = msgspec.json.schema_components([ActRequest, *answers], ref_template=_REF)
    schemas["ActRequest"]["properties"]["observations"]["maxItems"] = max_batch_size
    schemas["ActRequest"]["oneOf"] = [{"required": ["observation"]}, {"required": ["observations"]}]
    schemas[NUMBERS] = _NUMBERS
    # FastAPI drops what is null in an example, and does not know the classes that it does not use itself.
    for kind in (AliasChange, AliasChanged, ModelSummary, RefreshAnswer, ProblemDocument):
        schemas[kind.__name__] = kind.model_json_schema()
    return schemas


def act_operation(path: str) -> Document:
    """What the document says of `/act`, `/q-values` or one of them below `/models/{model}`."""
    named, call = path.startswith("/models/"), path.rpartition("/")[2]
    summary = "Choose an action" if call == "act" else "Q-values and the action chosen"
    answers = _ACT if call == "act" else _Q_VALUES
    references = [{"$ref": _REF.format(name=kind.__name__)} for kind, _ in answers]
    examples = dict(zip(("one observation", "a batch"), ({"value": example} for _, example in answers), strict=True))
    requests = {name: {"value": value} for name, value in _REQUESTS.items()}
    request = {"schema": {"$ref": _REF.format(name="ActRequest")}, "examples": requests}
    operation: Document = {
        "tags": ["act"],
        "summary": summary + (" by a named model" if named else ""),
        "operationId": f"{'model_' if named else ''}{call.replace('-', '_')}",
        "requestBody": {"required": True, "content": {"application/json": request}},
        "responses": {
            "200": {
                "description": "The action, or the actions in the order of the batch.",
                "content": {"application/json": {"schema": {"anyOf": references}, "examples": examples}},
            },
            **{str(status): response for status, response in problems(400, 404, 413, 415, 422, 503).items()},
        },
    }
    if named:
        operation["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}]
    return operation


def _finish(path: str, operation: Document, *, token_needed: bool) -> None:
    """Adds what holds for all calls, and drops FastAPI's own 422, which the calls without a body never answer."""
    responses = operation["responses"] = dict(operation["responses"])
    parameters = [dict(parameter) for parameter in operation.get("parameters", [])]
    for parameter in parameters:
        if parameter["name"] in _PATTERNS:
            parameter["schema"] = {"type": "string", "pattern": _PATTERNS[parameter["name"]]}
    if parameters:
        operation["parameters"] = parameters
    if "requestBody" not in operation and operation.get("tags") != ["stream"]:
        responses.pop("422", None)
    if operation.get("tags") == ["admin"] or (token_needed and path not in OPEN_PATHS):
        operation["security"] = [{"token": []}]
        responses.setdefault("401", oip_errors(401)["401"] if is_oip(path) else problems(401)[401])
    form = "Error" if is_oip(path) else "Problem"
    for status in _ANYWHERE:
        responses.setdefault(str(status), {"$ref": f"#/components/responses/{form}{status}"})
