"""The state of environments, captured without pickle: whatever in them is plain data, wherever in the objects it lies.

An environment and its wrappers are Python objects whose attributes are numbers, strings, arrays, random generators,
containers of these, and further such objects; what is mentioned twice stays one thing. Functions, classes, registry
entries and the like are noted by name, and must be the same in the new environment. Anything else, such as an object of
a physics engine or another process, makes the state uncapturable. (Atari's emulator gives its state away, but not the
action that it repeats, so that it is no exception.)
"""

import enum
import functools
import logging
import random
import types
from collections import deque
from pathlib import PurePath
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AsyncVectorEnv

Node = Any
"""A plain value; or a dict that says what something is with its first key, and with `number` which one."""

_PLAIN = (bool, int, float, str)
_NAMED = (
    type,
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.ModuleType,
    functools.partial,
    enum.Enum,
    EnvSpec,
    np.dtype,
    np.ufunc,
    logging.Logger,
    PurePath,
)


_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)


class UncapturableError(ValueError):
    """A part of an environment's state cannot be captured, or the new environment has no place for it."""


def capture_environment(environment: object) -> Node:
    """The state of an environment or vector environment. Raises UncapturableError with the part that is in the way."""
    return _Capturing().node(environment, "environment")


class _Capturing:
    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, object]] = {}  # by id: its number, and the object, which keeps the id its own

    def node(self, value: Any, path: str) -> Node:
        if value is None or type(value) in _PLAIN or isinstance(value, np.generic):
            return value
        if isinstance(value, _NAMED):
            return {"named": name_of(value)}
        if id(value) in self._seen:
            return {"same": self._seen[id(value)][0]}
        number = len(self._seen)
        self._seen[id(value)] = number, value
        return self._encode(value, path) | {"number": number}

    def _encode(self, value: Any, path: str) -> dict[str, Node]:
        kind = type(value)
        if kind is np.ndarray:
            return self._array(value, path)
        if kind in _GENERATORS:
            return _generator(value)
        if kind is bytes:
            return {"bytes": np.frombuffer(value, np.uint8)}
        if kind in (list, tuple, deque):
            items = [self.node(item, f"{path}[{index}]") for index, item in enumerate(value)]
            return {kind.__name__: items} | ({"maxlen": value.maxlen} if kind is deque else {})
        if kind is dict:
            return {"dict": [[self._key(key, path), self.node(value[key], f"{path}[{key!r}]")] for key in value]}
        return self._object(value, path)

    def _key(self, key: Any, path: str) -> Node:
        node = self.node(key, f"a key of {path}")
        if isinstance(node, dict) and ("named" in node or "object" in node):
            raise UncapturableError(f"a key of {path} is of type {class_name(key)}")
        return node

    def _object(self, value: Any, path: str) -> dict[str, Node]:
        if isinstance(value, AsyncVectorEnv):
            raise UncapturableError("they run in processes of their own")
        names = list(vars(value)) if hasattr(value, "__dict__") else []
        if isinstance(value, spaces.Space):
            names = ["_np_random"]
        elif type(value).__basicsize__ != _Plain.__basicsize__:  # it has more than a __dict__: in C, or in slots
            raise UncapturableError(f"{path} is of type {class_name(value)}")
        attributes = {name: self.node(vars(value)[name], f"{path}.{name}") for name in names}
        return {"object": class_name(value), "attributes": attributes}

    def _array(self, value: np.ndarray[Any, Any], path: str) -> dict[str, Node]:
        base = value.base
        if value.dtype.hasobject:
            raise UncapturableError(f"{path} is an array of Python objects")
        if not isinstance(base, np.ndarray):
            return {"array": value}
        if not base.flags.c_contiguous:
            raise UncapturableError(f"{path} is a view of an array that is not contiguous")
        offset = value.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        layout = [value.shape, value.dtype.str, offset, value.strides]
        return {"view": self.node(base, f"{path}.base"), "layout": layout}


class _Plain:
    """Has what an object of any class written in Python has."""


def _generator(value: np.random.Generator | np.random.RandomState | random.Random) -> dict[str, Node]:
    if isinstance(value, np.random.Generator):
        return {"generator": type(value.bit_generator).__name__, "state": value.bit_generator.state}
    if isinstance(value, np.random.RandomState):
        return {"generator": "RandomState", "state": value.get_state(legacy=False)}
    version, words, gauss = value.getstate()
    return {"generator": "Random", "state": [version, list(words), gauss]}


def name_of(value: Any) -> str:
    """What tells a function, a class, a member of an enumeration and the like from others."""
    if isinstance(value, functools.partial):
        return f"partial {name_of(value.func)}"
    if isinstance(value, EnvSpec):
        return value.id
    return str(getattr(value, "__qualname__", value))


def class_name(value: object) -> str:
    """Module and name of an object's class."""
    return f"{getattr(type(value), '__module__', '')}.{type(value).__qualname__}"
