"""The state of objects in a checkpoint, and its encoding as JSON and arrays.

Every object of a run that changes has torch's pair `state_dict` and `load_state_dict`. After `load_state_dict(state)`
it behaves exactly as it would have after `state_dict()`.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

State = Mapping[str, Any]
"""Plain values by name: None, bool, int, float, str, arrays, NumPy scalars, tensors, a Ring, and dicts (with string
keys), lists and tuples of these. A tensor is decoded on the CPU, a tuple as a list, a Ring as its array."""


class Ring(NamedTuple):
    """A large circular array, of which a checkpoint writes only new rows."""

    array: NDArray[Any]  # [rows, ...]
    written: int  # total number of rows written so far
    mutable_tail: int  # number of latest rows that may still change


class Stateful:
    """An object whose state is in the attributes named by `_state`.

    These are plain values, other Stateful objects and random generators. Tensors are loaded in place, so that their
    views stay views.
    """

    _state: ClassVar[tuple[str, ...]] = ()

    def state_dict(self) -> State:
        """The state. It may share memory with the object, so write it before the object changes."""
        return {name: _saved(getattr(self, name)) for name in self._state}

    def load_state_dict(self, state: State) -> None:
        """Restores the state of an object that was created with the same configuration."""
        for name in self._state:
            setattr(self, name, _loaded(getattr(self, name), state[name]))


def _saved(value: Any) -> Any:
    match value:
        case Stateful():
            return value.state_dict()
        case np.random.Generator():
            return value.bit_generator.state
        case torch.Generator():
            return value.get_state()
        case Tensor():
            return value.detach()
    return value


def _loaded(present: Any, saved: Any) -> Any:
    """The attribute's new value: the present object with the saved state, or the saved value."""
    match present:
        case Stateful():
            present.load_state_dict(saved)
        case np.random.Generator():
            present.bit_generator.state = saved
        case torch.Generator():
            present.set_state(saved)
        case Tensor():
            present.data.copy_(saved)
        case _:
            return saved
    return present


WriteRing = Callable[[str, Ring], bool]
"""Writes a ring under a name; returns False if it is too small to be worth it."""
ReadRing = Callable[[str], NDArray[Any]]


def encode(value: Any, name: str, arrays: dict[str, NDArray[Any]], write_ring: WriteRing) -> Any:
    """Encodes a state, or a value in it, as JSON; its arrays are added to `arrays` under the numbers used in the JSON.

    `name` is the path to the value. Raises TypeError, naming the path, for an unsupported type.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Ring):
        if write_ring(name, value):
            return {"ring": name}
        value = value.array
    if isinstance(value, list | tuple):
        return [encode(item, f"{name}.{index}", arrays, write_ring) for index, item in enumerate(value)]
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return {"map": {key: encode(item, f"{name}.{key}", arrays, write_ring) for key, item in value.items()}}
    if not isinstance(value, np.ndarray | np.generic | Tensor):
        raise TypeError(f"A checkpoint cannot store {name}, which is of type {type(value).__name__}.")
    kind = "tensor" if isinstance(value, Tensor) else "array" if isinstance(value, np.ndarray) else "scalar"
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.hasobject:
        raise TypeError(f"A checkpoint cannot store {name}, an array of Python objects.")
    arrays[number := str(len(arrays))] = array
    return {kind: number}


def decode(value: Any, arrays: Mapping[str, NDArray[Any]], read_ring: ReadRing) -> Any:
    """Decodes a value; tuples are returned as lists, and rings as arrays."""
    if isinstance(value, list):
        return [decode(item, arrays, read_ring) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "map":
        return {key: decode(item, arrays, read_ring) for key, item in content.items()}
    if kind == "ring":
        return read_ring(content)
    array = arrays[content]
    if kind == "tensor":
        return torch.from_numpy(array)
    return array[()] if kind == "scalar" else array
