"""Streams as routes: the refusal of plain HTTP requests, and the upgrade in `/openapi.json`."""

from typing import Any

from starlette.requests import Request

from dqn_serving.api.calls import CallRoute, Document, components, operation, problem_response, reference
from dqn_serving.api.stream import frames
from dqn_serving.api.stream.frames import CODECS
from dqn_serving.api.stream.handshake import UPGRADE
from dqn_serving.api.stream.hub import DEFAULT_TEMPLATE, NAMED_TEMPLATE
from dqn_serving.problems import Problem

_DESCRIPTION = f"""A WebSocket. The subprotocol is one of {", ".join(CODECS)}: JSON in text frames (also if none is
offered) or MessagePack in binary frames, with the same fields. The first frame is a `StreamHello`. Each
`StreamRequest` is answered, in order, with a `StreamAction` or a `StreamError`; a `StreamVersion` announces that
another version answers from now on, and `StreamDraining` that the server is about to stop. For example, a text frame
`{{"observation": [0.01, -0.02, 0.03, 0.04], "id": 7}}` is answered with
`{{"type":"action","action":1,"version":3,"id":7}}`.
"""


def _parameter(name: str, description: str, **schema: Any) -> Document:
    return {"name": name, "in": "query", "description": description, "schema": {"type": "string", **schema}}


_BOOLEAN: Document = {"enum": ["true", "false"], "default": "false"}
_VERSION = "The version (a number or an alias) that answers throughout; by default the current champion does."
_PARAMETERS = [
    _parameter("pin", "Whether the version that answers first keeps answering, whatever becomes champion.", **_BOOLEAN),
    _parameter("version", _VERSION, minLength=1),
    _parameter("q_values", "Whether answers include the Q-values.", **_BOOLEAN),
]
_REFUSALS = {
    400: ("The handshake is invalid, or offers no known subprotocol.", "The WebSocket handshake failed."),
    403: (
        "The request comes from a web page of another origin.",
        "Origin 'https://example.com' is not allowed (DQN_CORS_ORIGINS).",
    ),
    422: ("A parameter is unknown or invalid.", "pin is 'yes'; expected true or false."),
    426: ("The request does not ask for an upgrade.", "This is a stream: connect to it with a WebSocket client."),
}


def stream_routes() -> list[CallRoute]:
    """`GET /act/stream` and `/models/{model}/act/stream`."""
    switched = {
        "description": "Switching Protocols; the connection carries frames.",
        "x-frames": {name: reference(name) for name in components(frames)},
    }
    refused = {str(status): problem_response(status, *texts) for status, texts in _REFUSALS.items()}
    more = {"description": _DESCRIPTION, "parameters": _PARAMETERS}
    routes = []
    for path, name, which in (
        (DEFAULT_TEMPLATE, "act_stream", ""),
        (NAMED_TEMPLATE, "model_act_stream", ", with a named model"),
    ):
        summary = f"Stream observations in, actions out{which}"
        known = operation(path, name, "stream", summary, {"101": switched, **refused}, 404, **more)
        routes.append(CallRoute("GET", path, _refuse, known))
    return routes


async def _refuse(_request: Request) -> None:
    raise Problem(426, "This is a stream: connect to it with a WebSocket client.", headers=UPGRADE)
