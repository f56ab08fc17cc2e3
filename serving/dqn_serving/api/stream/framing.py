"""Where a frame that a client sends begins and ends: RFC 6455, section 5.2, as far as the short way needs it."""

from typing import NamedTuple

from websockets.frames import Opcode
from websockets.speedups import apply_mask

_FINAL = 0x80
_MASKED = 0x80
_LENGTH_IN_2_BYTES, _LENGTH_IN_8_BYTES = 126, 127
_MASK_BYTES = 4
_SHORT_HEADER = 2 + _MASK_BYTES


class Cut(NamedTuple):
    """The frame at the beginning of some bytes, which need not have all of it."""

    kind: int
    """The first byte: flags and opcode."""
    is_masked: bool
    payload_at: int
    end: int

    @property
    def length(self) -> int:
        """Bytes of the payload."""
        return self.end - self.payload_at

    def payload(self, data: bytes) -> bytes:
        """The unmasked payload."""
        at = self.payload_at
        return apply_mask(data[at : self.end], data[at - _MASK_BYTES : at])


def cut(data: bytes | bytearray) -> Cut | None:
    """The frame at the beginning of `data`; None where not even its header is complete."""
    if len(data) < 2:
        return None
    length, size_bytes = data[1] & ~_MASKED, 0
    if length >= _LENGTH_IN_2_BYTES:
        size_bytes = 2 if length == _LENGTH_IN_2_BYTES else 8
        length = int.from_bytes(data[2 : 2 + size_bytes], "big")
    is_masked = data[1] >= _MASKED
    payload_at = 2 + size_bytes + (_MASK_BYTES if is_masked else 0)
    return Cut(data[0], is_masked, payload_at, payload_at + length) if len(data) >= payload_at else None


def short_payload(data: bytes, kind: int) -> bytes | None:
    """The payload where `data` is just one masked frame of this kind with at most 125 bytes, as most are."""
    size = len(data) - _SHORT_HEADER
    if size < 0 or data[0] != kind or data[1] != _MASKED + size or size >= _LENGTH_IN_2_BYTES:
        return None
    return apply_mask(data[_SHORT_HEADER:], data[2:_SHORT_HEADER])


def framed(opcode: Opcode, payload: bytes) -> bytes:
    """A payload as one frame, unmasked and uncompressed as servers send it."""
    size = len(payload)
    if size < _LENGTH_IN_2_BYTES:
        return bytes((_FINAL | opcode, size)) + payload
    if size < 2**16:
        return bytes((_FINAL | opcode, _LENGTH_IN_2_BYTES)) + size.to_bytes(2, "big") + payload
    return bytes((_FINAL | opcode, _LENGTH_IN_8_BYTES)) + size.to_bytes(8, "big") + payload


def whole(opcode: Opcode) -> int:
    """The first byte of a frame that is a message by itself."""
    return _FINAL | opcode
