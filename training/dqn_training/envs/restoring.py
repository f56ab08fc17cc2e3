"""Gives the state of environments back to new ones."""

import enum
import random
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from dqn_training.envs.snapshot import Node, UncapturableError, class_name, name_of

_MISSING = object()


def restore_environment(environment: object, state: Node) -> None:
    """Gives a captured state to an environment that was made in the same way and has been reset.

    Raises UncapturableError where it turns out to be another; it is to be reset again then.
    """
    _Restoring().value(environment, state, "environment")


def _named(live: Any, name: str, path: str) -> Any:
    """What the new environment has, if it is the same; of an enumeration the member that is."""
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
    def __init__(self) -> None:
        self._made: dict[int, Any] = {}

    def value(self, live: Any, node: Node, path: str) -> Any:
        """What a node stands for; `live` is what the new environment has in its place."""
        if not isinstance(node, Mapping):
            return node
        if "same" in node:
            return self._made[node["same"]]
        if "named" in node:
            return _named(live, node["named"], path)
        if "object" in node:
            return self._object(live, node, path)
        made = self._made[node["number"]] = self._decode(live, node, path)
        return made

    def _object(self, live: Any, node: Node, path: str) -> Any:
        if class_name(live) != node["object"]:
            raise UncapturableError(f"a new environment has nothing for {path}")
        self._made[node["number"]] = live
        for name, item in node["attributes"].items():
            vars(live)[name] = self.value(vars(live).get(name, _MISSING), item, f"{path}.{name}")
        return live

    def _decode(self, live: Any, node: Node, path: str) -> Any:  # noqa: PLR0911  (a case each)
        match node:
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
        raise UncapturableError(f"this release does not know what {path} is")

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


_BIT_GENERATORS: dict[str, type[np.random.BitGenerator]] = {
    kind.__name__: kind
    for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
}
