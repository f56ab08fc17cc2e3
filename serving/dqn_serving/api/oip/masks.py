"""The optional input `action_mask`: which actions may be chosen, in JSON or binary."""

from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import UNSET, Meta

from dqn_serving.api.explain.wording import listed, rejected, shown
from dqn_serving.api.oip.messages import InputTensor
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.observations import BoolArray
from dqn_serving.problems import Problem

MASK = "action_mask"
DATATYPE = "BOOL"

_decode_flat = msgspec.json.Decoder(list[bool]).decode
_decode_nested = msgspec.json.Decoder(list[Annotated[list[bool], Meta(min_length=1)]]).decode


def read_mask(tensor: InputTensor, raw: memoryview, shape: list[int], loaded: LoadedPolicy) -> BoolArray:
    """The mask for a batch; its shape must be [batch, n_actions], and each row must allow an action.

    Raises Problem (422).
    """
    if tensor.datatype != DATATYPE:
        raise _rejected(f"{MASK} has datatype {shown(tensor.datatype)}; expected is {DATATYPE}.")
    if tensor.shape != shape:
        found = listed([shown(size) for size in tensor.shape[:8]])
        raise _rejected(f"{MASK} has shape {found}; {loaded} expects {listed(shape)} for this batch.")
    mask = _from_binary(tensor, raw, shape) if tensor.data is UNSET else _from_json(tensor.data, shape)
    is_possible = mask.any(axis=1)
    if not is_possible.all():
        raise _rejected(f"{MASK}[{int(is_possible.argmin())}] masks every action; at least one must be allowed.")
    return mask


def _from_binary(tensor: InputTensor, raw: memoryview, shape: list[int]) -> BoolArray:
    size = tensor.parameters.binary_data_size if tensor.parameters else UNSET
    expected = shape[0] * shape[1]
    if size != expected or len(raw) != size:
        found = f"binary_data_size {shown(size)} and {len(raw)} bytes after the JSON"
        raise _rejected(f"{MASK} has {found}; shape {listed(shape)} needs {expected} bytes.")
    elements = np.frombuffer(raw, np.uint8)
    if (elements > 1).any():
        index = int((elements > 1).argmax())
        raise _rejected(f"element {index} of the binary {MASK} is {elements[index]}; expected is 0 or 1.")
    return elements.astype(np.bool_).reshape(shape)


def _from_json(data: Any, shape: list[int]) -> BoolArray:
    is_nested = bytes(memoryview(data)[:64]).lstrip()[1:].lstrip()[:1] == b"["
    try:
        elements = np.array(_decode_nested(data) if is_nested else _decode_flat(data), np.bool_)
    except ValueError:  # wrong elements, or ragged lists
        raise _rejected(f"The data of {MASK} is not a list of booleans, flat or nested as its shape says.") from None
    if elements.size != shape[0] * shape[1] or (is_nested and list(elements.shape) != shape):
        found = f"shape {listed(list(elements.shape))}" if is_nested else f"{elements.size} elements"
        raise _rejected(f"The data of {MASK} has {found}; its shape is {listed(shape)}.")
    return elements.reshape(shape)


def _rejected(detail: str) -> Problem:
    return rejected("action_mask", detail)
