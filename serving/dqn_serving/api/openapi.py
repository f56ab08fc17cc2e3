"""`/openapi.json`: the operations of all routes, and the components that they refer to."""

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from dqn_models.manifest import Manifest
from dqn_serving.api import responses, schemas
from dqn_serving.api.calls import CallRoute, Document, components, operation, reference, refusals, shared_responses
from dqn_serving.api.oip import messages
from dqn_serving.api.responses import ModelSpaces
from dqn_serving.api.schemas import ActAnswer, ActBatchAnswer, QValuesAnswer, QValuesBatchAnswer
from dqn_serving.api.stream import frames
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
_MAX_EXAMPLE_SIZE = 256  # numbers of an observation; `GET /models/{model}` has more
_PATHS = ("/models/{model}/act", "/models/{model}/q-values")
_NUMBERS: Document = {
    "description": "A number in the range of float32, or lists of them, nested according to the shape.",
    "anyOf": [
        {"type": "number", "minimum": -3.4028234663852886e38, "maximum": 3.4028234663852886e38},
        {"type": "array", "items": schemas.NUMBERS_REF},
    ],
}


def _header(description: str, **schema: Any) -> Document:
    return {"description": description, "required": True, "schema": schema}


_ID = "The id that the request had, or a new one; it also appears in the log."
_HEADERS: dict[str, Document] = {
    "X-Request-ID": _header(_ID, type="string", pattern="^[!-~]{1,128}$"),
    "Retry-After": _header("Seconds to wait before the next try.", type="integer", minimum=0),
    "Upgrade": _header("What the connection must become: a WebSocket.", const="websocket"),
    "WWW-Authenticate": _header("The scheme of the credentials: Bearer.", type="string"),
}


def describe(info: Document, routes: Iterable[CallRoute], *, token_needed: bool, max_batch_size: int) -> Document:
    """The whole document, for a server with these settings and routes; `info` has the API's title and so on.

    Its only server is the directory of the document itself, so that it is also right under a proxy's prefix.
    """
    paths: dict[str, Document] = {}
    for route in routes:
        if route.operation is not None:
            known = route.operation
            if known["tags"] == ["admin"] or (token_needed and route.path not in OPEN_PATHS):
                known = known | {
                    "security": [{"token": []}],
                    "responses": known["responses"] | refusals(route.path, 401),
                }
            paths.setdefault(route.path, {})[route.method] = known
    used = set(re.findall(r"#/components/responses/(\w+)", json.dumps(paths)))
    shared = {
        "schemas": _schemas(max_batch_size) | components(messages) | components(frames) | components(responses),
        "headers": _HEADERS,
        "responses": {name: response for name, response in shared_responses().items() if name in used},
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
    }
    return {"openapi": "3.1.0", "info": info, "servers": [{"url": "."}], "paths": paths, "components": shared}


def with_models(document: Document, models: Iterable[Manifest]) -> Document:
    """The document with an example of each of these models, by name, for the calls that choose actions."""
    examples = {manifest.model: _example(manifest) for manifest in models}
    paths = dict(document["paths"])
    for path in _PATHS:
        call = paths[path]["post"]
        content = call["requestBody"]["content"]["application/json"]
        content = content | {"examples": content["examples"] | examples}
        paths[path] = {"post": call | {"requestBody": call["requestBody"] | {"content": {"application/json": content}}}}
    return document | {"paths": paths}


def _example(manifest: Manifest) -> Document:
    spaces = ModelSpaces.of(manifest)
    shown: Document = {"description": f"An observation: {spaces.observation}. An action: {spaces.action}."}
    if manifest.environment.observation_space.size > _MAX_EXAMPLE_SIZE:
        return shown
    return shown | {"value": spaces.example_request()}


def _schemas(max_batch_size: int) -> Document:
    """The native messages with constraints that their classes do not express, and the manifest."""
    found: dict[str, Document] = components(schemas)
    found["ActRequest"]["properties"]["observations"]["maxItems"] = max_batch_size
    found["ActRequest"]["oneOf"] = [{"required": ["observation"]}, {"required": ["observations"]}]
    manifest: Document = Manifest.model_json_schema(mode="serialization", ref_template=reference("{model}")["$ref"])
    found |= manifest.pop("$defs")
    return found | {schemas.NUMBERS: _NUMBERS, "Manifest": manifest}


def act_operation(path: str) -> Document:
    """The operation of `/act`, `/q-values` or one of them under `/models/{model}`."""
    named, call = path.startswith("/models/"), path.rpartition("/")[2]
    summary = "Choose an action" if call == "act" else "Compute Q-values and choose an action"
    answers = dict(zip(("one observation", "a batch"), _ANSWERS[call], strict=True))
    answer = {
        "schema": {"anyOf": [reference(type(example).__name__) for example in answers.values()]},
        "examples": {name: {"value": msgspec.to_builtins(example)} for name, example in answers.items()},
    }
    requests = {name: {"value": value} for name, value in _REQUESTS.items()}
    request = {"schema": reference("ActRequest"), "examples": requests}
    meaning = "The action, or the actions in the order of the batch."
    return operation(
        path,
        f"{'model_' if named else ''}{call.replace('-', '_')}",
        "act",
        summary + (" with a named model" if named else ""),
        {"200": {"description": meaning, "content": {"application/json": answer}}},
        *(404, 413, 415, 422),
        requestBody={"required": True, "content": {"application/json": request}},
    )
