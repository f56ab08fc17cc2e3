"""`/openapi.json`: what FastAPI knows of its calls, and the native calls from the classes that decode them."""

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from dqn_models.layout import ALIAS_NAME, MODEL_NAME
from dqn_serving.api.documents import AliasChanged, ModelSummary, RefreshAnswer
from dqn_serving.api.oip.openapi import add_protocol, error_response
from dqn_serving.api.oip.paths import is_below
from dqn_serving.api.problem_documents import HEADERS, ProblemDocument, problems
from dqn_serving.api.schemas import NUMBERS, ActAnswer, ActBatchAnswer, ActRequest, QValuesAnswer, QValuesBatchAnswer
from dqn_serving.api.stream import routes as stream_routes
from dqn_serving.security.auth import OPEN_PATHS

Document = dict[str, Any]

_REF = "#/components/schemas/{name}"
_REQUESTS: Document = {
    "one observation": {"observation": [0.01, -0.02, 0.03, 0.04]},
    "a batch": {"observations": [[0.01, -0.02, 0.03, 0.04], [0.0, 0.5, -0.1, 0.2]]},
    "exploring": {"observation": [0.01, -0.02, 0.03, 0.04], "epsilon": 0.1, "seed": 7},
    "masked, by version 2": {"observation": [0.01, -0.02, 0.03, 0.04], "action_mask": [True, False], "version": 2},
}
_ANSWERS: dict[str, tuple[type, type, Document, Document]] = {
    "act": (
        ActAnswer,
        ActBatchAnswer,
        {"action": 1, "model": "cartpole", "version": 3},
        {"actions": [1, 0], "model": "cartpole", "version": 3},
    ),
    "q-values": (
        QValuesAnswer,
        QValuesBatchAnswer,
        {"q_values": [9.1, 9.4], "action": 1, "model": "cartpole", "version": 3},
        {"q_values": [[9.1, 9.4], [8.7, 8.2]], "actions": [1, 0], "model": "cartpole", "version": 3},
    ),
}
_ANYWHERE = (400, 408, 414, 431, 500, 503)
_ANYWHERE_REF = "#/components/responses/{form}{status}"
_NUMBERS: Document = {
    "description": "A number within float32, or lists of them, nested as the shape says.",
    "anyOf": [
        {"type": "number", "minimum": -3.4028234663852886e38, "maximum": 3.4028234663852886e38},
        {"type": "array", "items": {"$ref": _REF.format(name=NUMBERS)}},
    ],
}
_PATTERNS = {"model": f"^{MODEL_NAME.pattern}$", "alias": f"^{ALIAS_NAME.pattern}$"}
_SUMMARIES = {"act": "Choose an action", "q-values": "Q-values and the action chosen"}


def describe(app: FastAPI, *, token_needed: bool, max_batch_size: int) -> Document:
    """The whole document, for a server with these settings."""
    document: Document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _, native = msgspec.json.schema_components(
        [ActRequest, ActAnswer, ActBatchAnswer, QValuesAnswer, QValuesBatchAnswer], ref_template=_REF
    )
    schemas.update(native)
    for kind in (AliasChanged, ModelSummary, RefreshAnswer):  # FastAPI drops what is null in an example
        schemas[kind.__name__]["examples"] = kind.model_json_schema()["examples"]
    schemas["ActRequest"]["properties"]["observations"]["maxItems"] = max_batch_size
    schemas[NUMBERS] = _NUMBERS
    schemas["ActRequest"]["oneOf"] = [{"required": ["observation"]}, {"required": ["observations"]}]
    schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
    for call in _ANSWERS:
        document["paths"][f"/{call}"] = {"post": _operation(call, named=False)}
        document["paths"][f"/models/{{model}}/{call}"] = {"post": _operation(call, named=True)}
    add_protocol(document)
    schemas.update(stream_routes.schemas())
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["headers"] = HEADERS
    components["responses"] = _anywhere()
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _finish(path, operation, token_needed=token_needed)
    return document


def _anywhere() -> Document:
    """The errors of every call, in the forms of both APIs."""
    native = {f"Problem{status}": response for status, response in problems(*_ANYWHERE).items()}
    return native | {f"Error{status}": error_response(status) for status in _ANYWHERE}


def _form(path: str) -> str:
    return "Error" if is_below(path) else "Problem"


def _operation(call: str, *, named: bool) -> Document:
    one, many, one_example, many_example = _ANSWERS[call]
    references = [{"$ref": _REF.format(name=kind.__name__)} for kind in (one, many)]
    requests = {name: {"value": value} for name, value in _REQUESTS.items()}
    answers = {"one observation": {"value": one_example}, "a batch": {"value": many_example}}
    operation: Document = {
        "tags": ["act"],
        "summary": _SUMMARIES[call] + (" by a named model" if named else ""),
        "operationId": f"{'model_' if named else ''}{call.replace('-', '_')}",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": _REF.format(name="ActRequest")}, "examples": requests}},
        },
        "responses": {
            "200": {
                "description": "The action, or the actions in the order of the batch.",
                "content": {"application/json": {"schema": {"anyOf": references}, "examples": answers}},
            },
            **{str(status): response for status, response in problems(400, 404, 413, 422, 503).items()},
        },
    }
    if named:
        operation["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}]
    return operation


def _finish(path: str, operation: Document, *, token_needed: bool) -> None:
    """Says who needs the token, and drops FastAPI's own 422, which the calls without a body never answer."""
    responses = operation["responses"]
    named = [dict(parameter) for parameter in operation.get("parameters", [])]
    for parameter in named:
        if parameter["name"] in _PATTERNS:
            parameter["schema"] = {"type": "string", "pattern": _PATTERNS[parameter["name"]]}
    if named:
        operation["parameters"] = named
    if "requestBody" not in operation and operation.get("tags") != ["stream"]:
        responses.pop("422", None)
    if operation.get("tags") == ["admin"] or (token_needed and path not in OPEN_PATHS):
        operation["security"] = [{"token": []}]
        responses.setdefault("401", error_response(401) if is_below(path) else problems(401)[401])
    for status in _ANYWHERE:
        responses.setdefault(str(status), {"$ref": _ANYWHERE_REF.format(form=_form(path), status=status)})
