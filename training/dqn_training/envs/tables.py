"""Large tables of plain values in environments, such as the transitions of Taxi: kept once, and only when they change.

A table is a list, tuple or dict of numbers, strings and further tables that nothing but it refers to. It is known by
the digest of its content, so that sixteen environments with equal tables cost one, and looking whether one has changed
costs two milliseconds instead of a walk through its thousands of objects.
"""

import gc
import hashlib
import json
import marshal
import sys
from collections.abc import Callable, Mapping
from typing import Any

_CONTAINERS = (dict, list, tuple)
_PLAIN = {bool, int, float, str, type(None), *_CONTAINERS}
_SMALLEST = 32  # items; what has fewer, and whose items have fewer, is no table

Texts = Mapping[str, str]
"""The content of tables as JSON, by digest."""


class Tables:
    """The tables of one capture; those that the capture before had, too, are not written again."""

    def __init__(self, known: Texts) -> None:
        self._known = known
        self.texts: dict[str, str] = {}

    def keep(self, value: Any, encode: Callable[[Any], Any]) -> str | None:
        """The digest by which a table is kept; None for what is no table. `encode` gives its content for JSON."""
        if type(value) not in _CONTAINERS or len(value) < _SMALLEST or not _is_table(value):
            return None
        digest = hashlib.sha256(marshal.dumps(value, 2)).hexdigest()  # version 2 depends on nothing but the content
        if digest not in self.texts:
            self.texts[digest] = self._known.get(digest) or json.dumps(encode(value))
        return digest


def _is_table(value: Any) -> bool:
    """Whether a container has only plain values and containers in it, each of them referred to once."""
    alone, level = _inner([[[]]])[1], [value]
    while level:
        level, references = _inner(level)
        if references > alone:
            return False
    return True


def _inner(containers: list[Any]) -> "tuple[list[Any], int]":
    """The containers directly in these, and how many references the most referred to has; a measure without a unit.

    Tuples with nothing but numbers and strings do not count: they never change, and a literal one belongs to its code.
    """
    items = gc.get_referents(*containers)
    if not set(map(type, items)) <= _PLAIN:
        return [], sys.maxsize
    atoms = _PLAIN.difference(_CONTAINERS).issuperset
    inner = [
        item for item in items if type(item) in _CONTAINERS and not (type(item) is tuple and atoms(map(type, item)))
    ]
    del items
    return inner, max(map(sys.getrefcount, inner), default=0)
