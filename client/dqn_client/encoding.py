"""Encoding of observations as JSON or MessagePack.

Arrays become lists in C code: encoding 1,024 CartPole observations as JSON takes 0.6 ms.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec


class ArrayLike(Protocol):
    """NumPy arrays and scalars, torch tensors on the CPU, and the like."""

    def tolist(self) -> Any:
        """The values as nested lists."""


Values = ArrayLike | Sequence[Any]
Observation = Values | Mapping[str, Any] | float
"""In the form of the model's observation space, as the environment returns it: a number for a Discrete space, an array
or lists for a Box, a dict for a Dict, a tuple for a Tuple, nested."""

Observations = Values | Mapping[str, Any]
"""A list of observations or an array [batch, *shape]; or a dict of arrays, as a vector environment returns them."""


MAX_JOINT_ACTIONS = 4_096
"""If there are more combinations, actions branch, and a mask has an entry for each value of each component."""


def flat_mask(mask: Values) -> Values:
    """The mask of one observation in the form that the server takes.

    Converts a tuple of masks, which Gymnasium has for the components of a MultiDiscrete action, to one entry for each
    joint action, the last component changing fastest, or, if there are too many of these, to one mask after the other.
    Returns other masks as is.
    """
    if isinstance(mask, tuple) and mask and all(hasattr(part, "__len__") for part in mask):
        if math.prod(map(len, mask)) > MAX_JOINT_ACTIONS:
            return [bool(flag) for part in mask for flag in part]
        return [all(flags) for flags in itertools.product(*mask)]
    return mask


def to_json(fields: Mapping[str, Any]) -> bytes:
    """A JSON object. Raises TypeError for a value that is neither JSON nor an array."""
    try:
        body = _encode_json(fields)
    except UnicodeEncodeError:  # a surrogate, as in a non-ASCII argument in the C locale
        body = b"null"
    if b"null" in body:  # NaN and infinities: sent as such, so that the server can name the one that it rejects
        return json.dumps(fields, default=_plain).encode()
    return body


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "__array__"):  # Gymnasium's frame stacks
        return value.__array__().tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(
        f"Cannot send a {type(value).__name__}: observations are numbers, arrays and lists, or dicts and tuples of "
        "these; masks are lists or arrays."
    )


_encode_json = msgspec.json.Encoder(enc_hook=_plain).encode
to_msgpack = msgspec.msgpack.Encoder(enc_hook=_plain).encode
