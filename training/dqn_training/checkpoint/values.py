"""Captures as JSON and arrays."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dqn_training.checkpoint.captures import Ring

WriteRing = Callable[[str, Ring], bool]
"""Writes a ring under a name; False when it is too small to be worth it."""
ReadRing = Callable[[str], NDArray[Any]]


class Encoder:
    """Turns a capture into a JSON value, and collects its arrays by the numbers that the value refers to."""

    def __init__(self, write_ring: WriteRing) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self._write_ring = write_ring

    def encode(self, value: Any, name: str) -> Any:
        """`name` is the path to the value. Raises TypeError, with the path, for what a checkpoint cannot keep."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, Ring):
            return {"ring": name} if self._write_ring(name, value) else self._array(value.array, name)
        if isinstance(value, np.ndarray | np.generic | Tensor):
            return self._array(value, name)
        if isinstance(value, list | tuple):
            return [self.encode(item, f"{name}.{index}") for index, item in enumerate(value)]
        if isinstance(value, Mapping) and all(type(key) is str for key in value):
            return {"map": {key: self.encode(item, f"{name}.{key}") for key, item in value.items()}}
        raise TypeError(f"A checkpoint cannot keep {name}, which is of type {type(value).__name__}.")

    def _array(self, value: "NDArray[Any] | np.generic | Tensor", name: str) -> Any:
        kind = "tensor" if isinstance(value, Tensor) else "array" if isinstance(value, np.ndarray) else "scalar"
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        if array.dtype.hasobject:
            raise TypeError(f"A checkpoint cannot keep {name}, an array of Python objects.")
        number = str(len(self.arrays))
        self.arrays[number] = array
        return {kind: number}


class Decoder:
    """Turns what an Encoder made back into a capture."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], read_ring: ReadRing) -> None:
        self._arrays = arrays
        self._read_ring = read_ring

    def decode(self, value: Any) -> Any:
        """The value that was encoded; tuples are lists now, and rings arrays."""
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        ((kind, content),) = value.items()
        if kind == "map":
            return {key: self.decode(item) for key, item in content.items()}
        if kind == "ring":
            return self._read_ring(content)
        array = self._arrays[content]
        if kind == "tensor":
            return torch.from_numpy(array)
        return array[()] if kind == "scalar" else array
