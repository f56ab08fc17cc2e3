"""Types for settings and flags: numbers with the range in their annotation, and JSON objects."""

import dataclasses
import functools
import json
import math
from collections.abc import Iterator
from typing import Annotated, Any, get_type_hints

from tyro.constructors import PrimitiveConstructorSpec


@dataclasses.dataclass(frozen=True)
class Between:
    """The allowed range of a field, as part of its annotation; infinity is never allowed."""

    low: float
    high: float = math.inf
    above: bool = False  # `low` itself is not allowed

    def __contains__(self, value: float) -> bool:
        """Whether the value is in the range."""
        enough = self.low < value if self.above else self.low <= value
        return enough and value <= self.high and value != math.inf

    def __str__(self) -> str:
        """The requirement, to follow "it must"."""
        if self.high == math.inf:
            return f"be a number above {self.low}" if self.above else f"be at least {self.low}"
        return (
            f"be above {self.low} and at most {self.high}" if self.above else f"lie between {self.low} and {self.high}"
        )


Count = Annotated[int, Between(1)]
Fraction = Annotated[float, Between(0, 1)]
Positive = Annotated[float, Between(0, above=True)]


def _json_object(values: list[str]) -> dict[str, Any]:
    parsed = json.loads(values[0])
    if not isinstance(parsed, dict):
        raise ValueError(f'{values[0]} is not a JSON object such as {{"gravity": 12}}')  # noqa: TRY004  (tyro shows it)
    return parsed


JsonObject = Annotated[
    dict[str, Any],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="JSON",
        instance_from_str=_json_object,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [json.dumps(value)],
    ),
]
"""A dictionary, given on the command line as one JSON object."""


def outside_ranges(values: Any) -> Iterator[str]:
    """A sentence for each field of a dataclass instance whose value is outside the range in its annotation."""
    for name, allowed in _ranges(values.__class__).items():
        value = getattr(values, name)
        if value is not None and value not in allowed:
            yield f"{name} is {value}; it must {allowed}."


@functools.cache
def _ranges(kind: type[Any]) -> dict[str, Between]:
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: item
        for name, hint in hints.items()
        for item in getattr(hint, "__metadata__", ())
        if isinstance(item, Between)
    }
