"""The two encodings of a stream's frames, by subprotocol."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from websockets.frames import Opcode

from dqn_serving.api import explain
from dqn_serving.api.explain import Document, rejected, shown
from dqn_serving.api.stream.framing import framed
from dqn_serving.api.stream.messages import StreamRequest
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.observations import ObservationReader
from dqn_serving.problems import Problem


class Codec(NamedTuple):
    """How frames are written and read."""

    encoding: str
    opcode: Opcode
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], StreamRequest]
    """Raises ValueError or RecursionError."""
    reader_of: Callable[[LoadedPolicy], ObservationReader]
    parse: Callable[[bytes], Document]
    """Everything that a frame has, to find out what is wrong with it. Raises Problem (400 or 422)."""

    def frame(self, message: Any) -> bytes:
        """A message as bytes on the wire."""
        return framed(self.opcode, self.encode(message))


def _parse_json(frame: bytes) -> Document:
    return explain.parse(frame, "frame")


def _parse_msgpack(frame: bytes) -> Document:
    try:
        msgspec.msgpack.decode(frame, type=msgspec.Raw)  # sizes are as large as said: what follows costs no more
        document = msgspec.msgpack.decode(frame)
    except RecursionError:
        raise Problem(400, "The frame is nested too deeply to be read as MessagePack.", reason="not_msgpack") from None
    except ValueError as error:
        found = f"The frame is not MessagePack: {error}." if frame else "The frame is empty; expected a map."
        raise Problem(400, found, reason="not_msgpack") from None
    if not isinstance(document, dict):
        raise rejected("type", f"The frame is {shown(document)}; expected a map with an observation.")
    return document


CODECS: dict[str, Codec] = {
    "dqn.json": Codec(
        "JSON",
        Opcode.TEXT,
        msgspec.json.Encoder().encode,
        msgspec.json.Decoder(StreamRequest).decode,
        attrgetter("observations"),
        _parse_json,
    ),
    "dqn.msgpack": Codec(
        "MessagePack",
        Opcode.BINARY,
        msgspec.msgpack.Encoder().encode,
        msgspec.msgpack.Decoder(StreamRequest).decode,
        attrgetter("packed_observations"),
        _parse_msgpack,
    ),
}
DEFAULT_SUBPROTOCOL = "dqn.json"
