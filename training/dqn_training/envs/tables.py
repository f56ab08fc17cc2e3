"""Large tables of plain values in environments, such as Taxi's transitions: stored once, and only when they change.

A table is a list, tuple or dict of numbers, strings and further tables to which nothing else refers. It is identified
by the digest of its content, so that sixteen environments with equal tables store one, and checking for a change takes
two milliseconds instead of a walk through thousands of objects.
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
_SMALLEST = 32  # items; smaller containers are not tables

Texts = Mapping[str, str]
"""Tables as JSON, by digest."""


class Tables:
    """The tables of one capture; those already in the previous capture are not encoded again."""

    def __init__(self, known: Texts) -> None:
        self._known = known
        self.texts: dict[str, str] = {}

    def keep(self, value: Any, encode: Callable[[Any], Any]) -> str | None:
        """The digest under which a table is stored; None if the value is not a table. `encode` prepares it for JSON."""
        if type(value) not in _CONTAINERS or len(value) < _SMALLEST or not _is_table(value):
            return None
        digest = hashlib.sha256(marshal.dumps(value, 2)).hexdigest()  # version 2 depends only on the content
        if digest not in self.texts:
            self.texts[digest] = self._known.get(digest) or json.dumps(encode(value))
        return digest


def _is_table(value: Any) -> bool:
    """Whether a container holds only plain values and containers, each of them referenced once."""
    alone, level = _inner([[[]]])[1], [value]
    while level:
        level, references = _inner(level)
        if references > alone:
            return False
    return True


def _inner(containers: list[Any]) -> "tuple[list[Any], int]":
    """The containers directly inside these, and the highest reference count among them (for comparison only).

    Tuples of plain values are skipped: they never change, and a literal tuple is also referenced by its code.
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
