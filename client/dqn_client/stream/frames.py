"""The frames of `/act/stream` as types, in MessagePack or JSON."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from dqn_client.encoding import to_json, to_msgpack

Encoding = Literal["msgpack", "json"]
Space = dict[str, Any]
"""A Gymnasium space as the manifest describes it, such as {"type": "Discrete", "n": 2, "start": 0}."""


class Hello(Struct, frozen=True, tag="hello"):
    """The first frame: which version answers, and its spaces."""

    model: str
    version: int
    pinned: bool
    observation_space: Space
    action_space: Space


class Version(Struct, frozen=True, tag="version"):
    """Another version answers from now on."""

    model: str
    version: int
    observation_space: Space
    action_space: Space


class ActionFrame(Struct, frozen=True, tag="action"):
    """The action for the observation with this id."""

    action: Any
    version: int
    id: int | str | None = None
    propensity: float | None = None
    q_values: tuple[float, ...] | None = None


class ErrorFrame(Struct, frozen=True, tag="error"):
    """The refusal of the observation with this id; the stream stays open."""

    status: int
    title: str
    detail: str
    reason: str | None = None
    id: int | str | None = None


class Draining(Struct, frozen=True, tag="draining"):
    """The server is about to shut down; until then it still answers."""


Frame = Hello | Version | ActionFrame | ErrorFrame | Draining


class Codec(NamedTuple):
    """One encoding of the frames."""

    subprotocol: str
    is_text: bool
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Frame]


CODECS: dict[Encoding, Codec] = {
    "msgpack": Codec("dqn.msgpack", is_text=False, encode=to_msgpack, decode=msgspec.msgpack.Decoder(Frame).decode),
    "json": Codec("dqn.json", is_text=True, encode=to_json, decode=msgspec.json.Decoder(Frame).decode),
}
