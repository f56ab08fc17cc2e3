"""The frames of a stream: messages, their two encodings, their bytes on the wire, and what is wrong with invalid ones.

The classes of the messages decode, encode and document them, in both JSON and MessagePack.
"""

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from websockets.frames import Opcode
from websockets.speedups import apply_mask

from dqn_serving.api import explain
from dqn_serving.api.explain import Document, is_integer, rejected, shown
from dqn_serving.api.explain_observations import check_observations
from dqn_serving.api.schemas import Action, Epsilon, Mask, Observation, Seed
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.observations import ObservationReader
from dqn_serving.problems import Problem

_MAX_ID_LENGTH = 64
_MIN_ID, _MAX_ID = -(2**63), 2**64 - 1

FrameId = (
    Annotated[int, Meta(ge=_MIN_ID)]
    | Annotated[str, Meta(max_length=_MAX_ID_LENGTH, description="Returned with the answer.")]
    | UnsetType
)
Space = dict[str, Any]


class StreamRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """An observation to act on."""

    observation: Observation
    epsilon: Epsilon | UnsetType = UNSET
    seed: Seed | UnsetType = UNSET
    action_mask: Mask | UnsetType = UNSET
    id: FrameId = UNSET


class StreamHello(Struct, frozen=True, tag_field="type", tag="hello"):
    """The first frame: the version that answers, and its spaces as in the manifest."""

    model: str
    version: int
    pinned: bool
    observation_space: Space
    action_space: Space


class StreamVersion(Struct, frozen=True, tag_field="type", tag="version"):
    """Another version answers from now on."""

    model: str
    version: int
    observation_space: Space
    action_space: Space


class StreamAction(Struct, frozen=True, tag_field="type", tag="action"):
    """The action, with the request's `id`; `propensity` if `epsilon` was sent, `q_values` if the URL asks for them."""

    action: Action
    version: int
    id: int | str | UnsetType = UNSET
    propensity: float | UnsetType = UNSET
    q_values: list[float] | UnsetType = UNSET


class StreamError(Struct, frozen=True, tag_field="type", tag="error"):
    """A frame that was not answered with an action; the stream continues."""

    status: int
    title: str
    detail: str
    reason: str | UnsetType = UNSET
    id: int | str | UnsetType = UNSET


class StreamDraining(Struct, frozen=True, tag_field="type", tag="draining"):
    """The server is about to stop: it still answers, but the client should reconnect."""


# bytes on the wire: RFC 6455, section 5.2

_FINAL = _MASKED = 0x80
_LENGTH_IN_2_BYTES, _LENGTH_IN_8_BYTES = 126, 127
_MASK_BYTES = 4
_SHORT_HEADER = 2 + _MASK_BYTES


def short_payload(data: bytes, first_byte: int) -> bytes | None:
    """The payload if `data` is exactly one masked frame of at most 125 bytes, as most are; otherwise None.

    `first_byte` has its flags and opcode: see `first_byte_of`.
    """
    size = len(data) - _SHORT_HEADER
    if size < 0 or data[0] != first_byte or data[1] != _MASKED + size or size >= _LENGTH_IN_2_BYTES:
        return None
    return apply_mask(data[_SHORT_HEADER:], data[2:_SHORT_HEADER])


def locate(data: bytearray, first_byte: int) -> tuple[int, int] | None:
    """Start and end of the payload of the masked frame at the beginning of `data`; the end may be beyond the data.

    None if its header is a different one, or incomplete.
    """
    if len(data) < _SHORT_HEADER or data[0] != first_byte or data[1] < _MASKED:
        return None
    length, start = data[1] - _MASKED, _SHORT_HEADER
    if length >= _LENGTH_IN_2_BYTES:
        size_bytes = 2 if length == _LENGTH_IN_2_BYTES else 8
        length, start = int.from_bytes(data[2 : 2 + size_bytes], "big"), _SHORT_HEADER + size_bytes
    return (start, start + length) if len(data) >= start else None


def unmask(data: bytearray, start: int, end: int) -> bytes:
    """The payload that `locate` found."""
    return apply_mask(data[start:end], data[start - _MASK_BYTES : start])


def framed(opcode: Opcode, payload: bytes) -> bytes:
    """A payload as one frame, unmasked and uncompressed as servers send it."""
    size = len(payload)
    if size < _LENGTH_IN_2_BYTES:
        return bytes((_FINAL | opcode, size)) + payload
    if size < 2**16:
        return bytes((_FINAL | opcode, _LENGTH_IN_2_BYTES)) + size.to_bytes(2, "big") + payload
    return bytes((_FINAL | opcode, _LENGTH_IN_8_BYTES)) + size.to_bytes(8, "big") + payload


def first_byte_of(opcode: Opcode) -> int:
    """The first byte of a frame with this opcode that is a whole message."""
    return _FINAL | opcode


class Codec(NamedTuple):
    """How the frames of one subprotocol are written and read."""

    encoding: str
    opcode: Opcode
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], StreamRequest]
    """Raises ValueError or RecursionError."""
    reader_of: Callable[[LoadedPolicy], ObservationReader]
    parse: Callable[[bytes], Document]
    """Decodes a frame without a schema. Raises Problem (400 or 422)."""

    def frame(self, message: Struct) -> bytes:
        """A message as bytes on the wire."""
        return framed(self.opcode, self.encode(message))


def _parse_msgpack(frame: bytes) -> Document:
    try:
        msgspec.msgpack.decode(
            frame, type=msgspec.Raw
        )  # checks that containers are as large as they claim, so that the next line cannot run out of memory
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
        partial(explain.parse, what="frame"),
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
"""Codecs by subprotocol."""
DEFAULT_SUBPROTOCOL = "dqn.json"


# what is wrong with a frame: the slow path, taken by faulty frames only


class FrameError(NamedTuple):
    """A problem with a frame, and the frame's `id` if that is valid."""

    problem: Problem
    frame_id: FrameId = UNSET

    def message(self) -> StreamError:
        """The message that the client gets."""
        problem = self.problem
        title, reason = str(problem.document()["title"]), problem.reason or UNSET
        return StreamError(problem.status, title, problem.detail, reason, self.frame_id)


def explain_frame(frame: bytes, codec: Codec, loaded: LoadedPolicy, error: Exception) -> FrameError:
    """The first fault found in a frame that the typed decoders refused with `error`."""
    frame_id: FrameId = UNSET
    try:
        document = codec.parse(frame)
        if _is_id(document.get("id")):
            frame_id = document["id"]
        explain.check_fields(document, StreamRequest.__struct_fields__, "frame")
        if "id" in document and not _is_id(document["id"]):
            expected = f"an integer or a string of at most {_MAX_ID_LENGTH} characters"
            raise rejected("fields", f"id is {shown(document['id'])}; expected {expected}.")
        check_observations(document, codec.reader_of(loaded), str(loaded))
    except Problem as problem:
        return FrameError(problem, frame_id)
    return FrameError(explain.unexplained("frame", error), frame_id)


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_ID_LENGTH and not any("\ud800" <= letter <= "\udfff" for letter in value)
    return is_integer(value) and _MIN_ID <= value <= _MAX_ID
