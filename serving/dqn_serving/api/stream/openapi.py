"""The streams in `/openapi.json`, as far as it can say what is no request and answer."""

from typing import Any

import msgspec

from dqn_serving.api.problem_documents import problem_response, problems
from dqn_serving.api.stream import messages
from dqn_serving.api.stream.codecs import CODECS
from dqn_serving.api.stream.streams import DEFAULT_TEMPLATE, NAMED_TEMPLATE

Document = dict[str, Any]

_REF = "#/components/schemas/{name}"
_SENT = messages.StreamRequest
_ANSWERED = [
    messages.StreamHello,
    messages.StreamAction,
    messages.StreamVersion,
    messages.StreamError,
    messages.StreamDraining,
]
_DESCRIPTION = f"""A WebSocket. The subprotocol is one of {", ".join(CODECS)}: text frames of JSON (also where none is
asked for) or binary frames of MessagePack, with the same fields. The first frame is a `StreamHello`. Each
`StreamRequest` is answered, in order, with a `StreamAction` or a `StreamError`; a `StreamVersion` says that another
version answers from now on, and `StreamDraining` that the server is about to end. For example, a text frame
`{{"observation": [0.01, -0.02, 0.03, 0.04], "id": 7}}` is answered with
`{{"type":"action","action":1,"version":3,"id":7}}`.
"""
_TRUTH = {"type": "string", "enum": ["true", "false"], "default": "false"}
_PARAMETERS: list[Document] = [
    {
        "name": "pin",
        "in": "query",
        "description": "Whether the version that answers first answers all the time.",
        "schema": _TRUTH,
    },
    {
        "name": "version",
        "in": "query",
        "description": "The version (a number or an alias) that answers all the time; by default the champion does.",
        "schema": {"type": "string", "minLength": 1},
    },
    {"name": "q_values", "in": "query", "description": "Whether answers carry the Q-values.", "schema": _TRUTH},
]
_REFUSALS = {
    400: ("The handshake is wrong, or no subprotocol that it offers is known.", "The WebSocket handshake failed."),
    403: ("The page of another origin.", "Pages of 'https://example.com' may not connect to this server."),
    422: ("A parameter is unknown or wrong.", "pin is 'yes'; expected true or false."),
    426: ("Not a request for an upgrade.", "This is a stream: connect to it with a WebSocket client."),
}


def add_streams(document: Document) -> None:
    """Adds the streams and their frames to the document."""
    _, schemas = msgspec.json.schema_components([_SENT, *_ANSWERED], ref_template=_REF)
    document["components"]["schemas"].update(schemas)
    for path in (DEFAULT_TEMPLATE, NAMED_TEMPLATE):
        document["paths"][path] = {"get": _operation(is_named=path == NAMED_TEMPLATE)}


def _operation(*, is_named: bool) -> Document:
    model = [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}]
    frames = {kind.__name__: {"$ref": _REF.format(name=kind.__name__)} for kind in (_SENT, *_ANSWERED)}
    return {
        "tags": ["stream"],
        "summary": "Observations in, actions out" + (", by a named model" if is_named else ""),
        "description": _DESCRIPTION,
        "operationId": "model_act_stream" if is_named else "act_stream",
        "parameters": (model if is_named else []) + _PARAMETERS,
        "responses": {
            "101": {"description": "From now on frames.", "x-frames": frames},
            **{str(status): response for status, response in problems(404, 503).items()},
            **{str(status): problem_response(status, *told) for status, told in _REFUSALS.items()},
        },
    }
