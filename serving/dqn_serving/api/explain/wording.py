"""Values in messages: short, whatever was sent."""

import json
import math
from typing import Any

from dqn_serving.api.schemas import MAX_SEED
from dqn_serving.problems import Problem, Reason

Document = dict[str, Any]

_MAX_SHOWN = 40
_MAX_DEPTH = 8


def rejected(reason: Reason, detail: str) -> Problem:
    """The problem of a body that is JSON but not a request for this model."""
    return Problem(422, detail, reason=reason)


def is_integer(value: Any) -> bool:
    """Whether a JSON value is an integer (Python takes a boolean for one)."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number."""
    return is_integer(value) or isinstance(value, float)


def shape_of(value: Any) -> list[int]:
    """The shape of nested lists, judged by the first entry at each level."""
    shape: list[int] = []
    while isinstance(value, list) and len(shape) < _MAX_DEPTH:
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def shown(value: Any) -> str:
    """A value for a message: short, whatever was sent."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    if isinstance(value, str):
        return repr(value[:_MAX_SHOWN]) + ("..." if len(value) > _MAX_SHOWN else "")
    if is_integer(value) and abs(value) >= MAX_SEED:
        return f"{value:.6g}"
    if isinstance(value, float):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value) or json.dumps(value)
    if value is None or isinstance(value, int):
        return json.dumps(value)
    return f"a value of type {type(value).__name__}"  # MessagePack has more than JSON


def listed(sizes: list[Any]) -> str:
    """A shape for a message, such as [batch, 4]."""
    return f"[{', '.join(str(size) for size in sizes)}]"
