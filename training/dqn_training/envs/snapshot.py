"""The state of environments, captured without pickle: all plain data in them, however deeply nested.

An environment and its wrappers are Python objects whose attributes are numbers, strings, arrays, random generators,
containers of these, and further such objects; shared references stay shared. Functions, classes, registry entries and
the like are recorded by name and must be the same in the new environment; also recorded are the variables of closures,
the object of methods and the arguments of partials. Anything else, such as an object of a physics engine or another
process, makes the state uncapturable. (So does Atari's emulator, which exposes its state but not the action that it
repeats.) Variables of modules and classes are ignored.
"""

import enum
import functools
import json
import logging
import random
import types
from collections import deque
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AsyncVectorEnv

from dqn_training.envs.tables import Tables, Texts

Node = Any
"""A plain value, or a dict whose first key says what kind of value it is, and whose `number` identifies it."""

_PLAIN = (bool, int, float, str)
_NAMED = (
    type,
    types.BuiltinFunctionType,
    types.ModuleType,
    enum.Enum,
    EnvSpec,
    np.dtype,
    np.ufunc,
    logging.Logger,
    PurePath,
)
_CALLABLE = (types.FunctionType, types.MethodType, functools.partial)
_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)

_BIT_GENERATORS: dict[str, type[np.random.BitGenerator]] = {
    kind.__name__: kind
    for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
}
_MISSING = object()


class UncapturableError(ValueError):
    """Part of an environment's state cannot be captured, or does not fit the new environment."""


def capture_environment(environment: object, before: Node = None) -> Node:
    """The state of an environment or vector environment; with the previous capture, unchanged tables are reused.

    Raises UncapturableError naming the part that cannot be captured.
    """
    tables = Tables(before["tables"] if before else {})
    return {"state": _Capturing(tables).node(environment, "environment"), "tables": tables.texts}


def restore_environment(environment: object, state: Node) -> None:
    """Restores a captured state into an environment that was made in the same way and has been reset.

    Raises UncapturableError if it turns out to differ; it must then be reset again.
    """
    _Restoring(state["tables"]).value(environment, state["state"], "environment")


class _Capturing:
    def __init__(self, tables: Tables | None = None) -> None:
        self._tables = tables
        self._seen: dict[
            int, tuple[int, object]
        ] = {}  # by id: a number, and the object, whose reference keeps the id unique

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

    def _encode(self, value: Any, path: str) -> dict[str, Node]:  # noqa: PLR0911  (one return per case)
        kind = type(value)
        if self._tables and (digest := self._tables.keep(value, lambda table: _Capturing().node(table, path))):
            return {"table": digest}
        if kind is np.ndarray:
            return self._array(value, path)
        if kind in _GENERATORS:
            return _generator(value)
        if isinstance(value, _CALLABLE):
            return {"callable": name_of(value), "parts": [self.node(*part) for part in _parts(value, path)]}
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
        if isinstance(node, dict) and ("named" in node or "object" in node or "callable" in node):
            raise UncapturableError(f"a key of {path} is of type {class_name(key)}")
        return node

    def _object(self, value: Any, path: str) -> dict[str, Node]:
        if isinstance(value, AsyncVectorEnv):
            raise UncapturableError("they run in separate processes")
        names = list(vars(value)) if hasattr(value, "__dict__") else []
        if isinstance(value, spaces.Space):
            names = ["_np_random", *(name for name in names if _has_spaces(vars(value)[name]))]
        elif type(value).__basicsize__ != _Plain.__basicsize__:  # it has state outside its __dict__, in C or in slots
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
    """Has the size of any object of a class written in Python."""


def _has_spaces(value: Any) -> bool:
    """Whether an attribute of a space holds member spaces, which have their own generators."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
    return any(isinstance(member, spaces.Space) for member in members)


def _parts(value: Any, path: str) -> list[tuple[Any, str]]:
    """Everything that a callable refers to besides its code, with paths."""
    if isinstance(value, types.MethodType):
        return [(value.__self__, f"{path}.__self__"), (value.__func__, f"{path}.__func__")]
    if isinstance(value, functools.partial):
        return [(value.func, f"{path}.func"), (value.args, f"{path}.args"), (value.keywords, f"{path}.keywords")]
    defaults = (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
    if vars(value) or any(isinstance(default, list | dict | set | deque | np.ndarray) for default in defaults):
        raise UncapturableError(f"{path} is a function with state in its attributes or defaults")
    cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
    return [(cell.cell_contents, f"{path}.{name}") for name, cell in cells]


def _generator(value: np.random.Generator | np.random.RandomState | random.Random) -> dict[str, Node]:
    if isinstance(value, np.random.Generator):
        return {"generator": type(value.bit_generator).__name__, "state": value.bit_generator.state}
    if isinstance(value, np.random.RandomState):
        return {"generator": "RandomState", "state": value.get_state(legacy=False)}
    version, words, gauss = value.getstate()
    return {"generator": "Random", "state": [version, list(words), gauss]}


def name_of(value: Any) -> str:
    """The name that identifies a function, a class, an enum member and the like."""
    if isinstance(value, functools.partial):
        return f"partial {name_of(value.func)}"
    if isinstance(value, EnvSpec):
        return value.id
    return str(getattr(value, "__qualname__", value))


def class_name(value: object) -> str:
    """Module and qualified name of an object's class."""
    return f"{getattr(type(value), '__module__', '')}.{type(value).__qualname__}"


def _named(live: Any, name: str, path: str) -> Any:
    """The new environment's value if it has this name; for an enum, the member with this name."""
    same = (member for member in type(live) if name_of(member) == name) if isinstance(live, enum.Enum) else iter([live])
    found = next(same, _MISSING)
    if name_of(found) != name:
        raise UncapturableError(f"a new environment has no {name} for {path}")
    return found


def _made_generator(kind: str, state: Any) -> np.random.Generator | np.random.RandomState | random.Random:
    if kind == "RandomState":
        made = np.random.RandomState()
        made.set_state(state)
        return made
    if kind == "Random":
        version, words, gauss = state
        python = random.Random()  # noqa: S311  (the environment's own choice)
        python.setstate((version, tuple(words), gauss))
        return python
    bits = _BIT_GENERATORS[kind]()
    bits.state = state
    return np.random.Generator(bits)


class _Restoring:
    def __init__(self, tables: Texts) -> None:
        self._tables = tables
        self._made: dict[int, Any] = {}

    def value(self, live: Any, node: Node, path: str) -> Any:
        """The value of a node; `live` is the new environment's value in its place."""
        if not isinstance(node, Mapping):
            return node
        if "same" in node:
            return self._made[node["same"]]
        if "named" in node:
            return _named(live, node["named"], path)
        if "object" in node:
            return self._object(live, node, path)
        if "callable" in node:
            return self._callable(live, node, path)
        made = self._made[node["number"]] = self._decode(live, node, path)
        return made

    def _callable(self, live: Any, node: Node, path: str) -> Any:
        self._made[node["number"]] = _named(live, node["callable"], path)
        parts = [value for value, _ in _parts(live, path)]
        if len(parts) != len(node["parts"]):
            raise UncapturableError(f"a new environment has a different {node['callable']} for {path}")
        found = [self.value(*pair, path) for pair in zip(parts, node["parts"], strict=True)]
        if isinstance(live, types.MethodType):
            live = types.MethodType(found[1], found[0])
        elif isinstance(live, functools.partial):
            live = functools.partial(found[0], *found[1], **found[2])
        else:
            for cell, value in zip(live.__closure__ or (), found, strict=True):
                cell.cell_contents = value
        self._made[node["number"]] = live
        return live

    def _object(self, live: Any, node: Node, path: str) -> Any:
        if class_name(live) != node["object"]:
            raise UncapturableError(f"a new environment has no {node['object']} for {path}")
        self._made[node["number"]] = live
        for name, item in node["attributes"].items():
            vars(live)[name] = self.value(vars(live).get(name, _MISSING), item, f"{path}.{name}")
        return live

    def _decode(self, live: Any, node: Node, path: str) -> Any:  # noqa: PLR0911  (one return per case)
        match node:
            case {"table": digest}:
                return _Restoring({}).value(live, json.loads(self._tables[digest]), path)
            case {"array": array}:
                return array.copy(order="K")
            case {"view": base, "layout": [shape, dtype, offset, strides]}:
                return np.ndarray(tuple(shape), dtype, self.value(_MISSING, base, path), offset, tuple(strides))
            case {"generator": kind, "state": state}:
                return _made_generator(kind, state)
            case {"bytes": array}:
                return array.tobytes()
            case {"list": items}:
                return self._items(live, items, path)
            case {"tuple": items}:
                return tuple(self._items(live, items, path))
            case {"deque": items, "maxlen": maxlen}:
                return deque(self._items(live, items, path), maxlen)
            case {"dict": items}:
                return self._dict(live, items, path)
        raise UncapturableError(f"this release cannot decode {path}")

    def _items(self, live: Any, items: list[Node], path: str) -> list[Any]:
        old = list(live) if isinstance(live, list | tuple | deque) else []
        old += [_MISSING] * (len(items) - len(old))
        return [self.value(old[index], item, f"{path}[{index}]") for index, item in enumerate(items)]

    def _dict(self, live: Any, items: list[list[Node]], path: str) -> dict[Any, Any]:
        old = live if isinstance(live, dict) else {}
        made = {}
        for key_node, item in items:
            key = self.value(_MISSING, key_node, path)
            made[key] = self.value(old.get(key, _MISSING), item, f"{path}[{key!r}]")
        return made
