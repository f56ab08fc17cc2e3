"""The handshake of a stream: the client's options, the checks, and the response that accepts."""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl

from starlette.types import Scope
from websockets.datastructures import Headers
from websockets.exceptions import NegotiationError
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from dqn_models.layout import CHAMPION, version_number
from dqn_serving.api.explain import shown
from dqn_serving.api.stream.frames import CODECS, DEFAULT_SUBPROTOCOL, Codec
from dqn_serving.api.stream.hub import StreamHub, StreamRoute
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.registry import ServedModel
from dqn_serving.problems import Header, Problem
from dqn_serving.telemetry.request_context import RequestContext

UPGRADE: tuple[Header, ...] = ((b"upgrade", b"websocket"), (b"connection", b"upgrade"))
"""Headers of the response to a call that should have been an upgrade."""

_VERSION = ((b"sec-websocket-version", b"13"),)
_BOOLEANS = {"true": True, "false": False}
_MAX_PARAMETERS = 16


class NegotiatedStream(NamedTuple):
    """What client and server agreed on."""

    response: bytes
    codec: Codec
    served: ServedModel
    loaded: LoadedPolicy
    is_pinned: bool
    with_q_values: bool


class StreamOptions(NamedTuple):
    """The options in the URL's query."""

    pin: bool = False
    version: int | str = CHAMPION
    q_values: bool = False


async def negotiate(streams: StreamHub, route: StreamRoute, scope: Scope, context: RequestContext) -> NegotiatedStream:
    """Checks a request for a stream, and loads the version that it names. Raises Problem and ModelError."""
    streams.services.access.check(scope)
    if streams.services.admission.is_draining:
        raise Problem(503, "The server is shutting down.")
    headers = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]])
    _check_origin(headers, streams.services.settings.cors_origins)
    subprotocol, response = _upgrade(headers, route.path, context)
    options = read_query(scope["query_string"])
    served = streams.services.registry.get(route.model)
    loaded = await streams.services.loader.select(served, options.version)
    is_pinned = options.pin or options.version != CHAMPION
    if is_pinned and not streams.services.registry.pinned.can_hold(loaded):
        detail = (
            "Streams already hold as many versions as may be loaded besides the champions (DQN_MAX_LOADED_VERSIONS)."
        )
        raise Problem(503, detail)
    return NegotiatedStream(response, CODECS[subprotocol], served, loaded, is_pinned, options.q_values)


def read_query(query: bytes) -> StreamOptions:
    """The options in a URL's query. Raises Problem (422)."""
    try:
        pairs = parse_qsl(
            query.decode(), keep_blank_values=True, strict_parsing=bool(query), max_num_fields=_MAX_PARAMETERS
        )
    except ValueError as error:
        raise Problem(422, f"The query of the URL cannot be read: {error}.", reason="fields") from None
    options = dict(pairs)
    for name in options:
        if name not in StreamOptions._fields:
            known = ", ".join(StreamOptions._fields)
            raise Problem(422, f"The URL has an unknown parameter {shown(name)}; allowed are {known}.", reason="fields")
    if len(options) < len(pairs):
        raise Problem(422, "The URL has a parameter more than once.", reason="fields")
    version = options.get("version", CHAMPION)
    if not version:
        raise Problem(422, "version is ''; expected a positive integer or the name of an alias.", reason="version")
    return StreamOptions(
        _parse_bool(options, "pin"), version_number(version) or version, _parse_bool(options, "q_values")
    )


def _parse_bool(options: dict[str, str], name: str) -> bool:
    text = options.get(name, "false")
    if text not in _BOOLEANS:
        raise Problem(422, f"{name} is {shown(text)}; expected true or false.", reason="fields")
    return _BOOLEANS[text]


def _check_origin(headers: Headers, allowed: Sequence[str]) -> None:
    """Browsers let any page connect to any server, but send its origin: admits our own and the allowed ones."""
    for origin in headers.get_all("origin"):
        is_own = origin.partition("://")[2].lower() in {host.lower() for host in headers.get_all("host")}
        if not is_own and origin not in allowed and "*" not in allowed:
            raise Problem(403, f"Origin {shown(origin)} is not allowed (DQN_CORS_ORIGINS).")


def _upgrade(headers: Headers, path: str, context: RequestContext) -> tuple[str, bytes]:
    """The subprotocol, and the whole response that accepts it. Raises Problem (400 or 426)."""
    version = headers.get_all("sec-websocket-version")
    if version and version != ["13"]:
        raise Problem(426, f"The WebSocket version is {shown(version[0])}; expected 13.", headers=UPGRADE + _VERSION)
    offered = [Subprotocol(name) for name in CODECS]
    protocol = ServerProtocol(subprotocols=offered, select_subprotocol=_choose_subprotocol)
    response = protocol.accept(Request(path, headers))
    if response.status_code != 101:
        error = protocol.handshake_exc
        raise Problem(400, f"The WebSocket handshake failed: {error}.")
    if context.request_id is not None:
        response.headers["X-Request-ID"] = context.request_id
    return protocol.subprotocol or DEFAULT_SUBPROTOCOL, response.serialize()


def _choose_subprotocol(_protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The first subprotocol that the client offers and the server knows."""
    known = next((name for name in offered if name in CODECS), None)
    if offered and known is None:
        raise NegotiationError(f"the subprotocols are {shown(', '.join(offered))}; known are {', '.join(CODECS)}")
    return known
