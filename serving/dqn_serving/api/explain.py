"""What is wrong with a body or a frame that the typed decoders refused: the slow path, for faulty requests only.

A `Document` is what was sent, parsed without a schema. Each check raises the Problem of the first fault that it finds;
`model` names the policy in its sentence, and `what` the thing that was sent (a body or a frame).
"""

import json
import math
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

from msgspec import MsgspecError, ValidationError

from dqn_serving.api.schemas import MAX_SEED, MAX_VERSION
from dqn_serving.problems import Problem, Reason

Document = dict[str, Any]

_MAX_DIGITS = 300  # a longer integer is out of range for every type here, and slow to convert
_MAX_SHOWN = 40
_MAX_DEPTH = 8
_AT = re.compile(r"(?P<fault>.*?)(?: - at `\$\.?(?P<place>.*)`)?", re.DOTALL)


# how values appear in sentences: short, whatever was sent


def rejected(reason: Reason, detail: str) -> Problem:
    """The problem (422) of a body that is JSON but not a request for this model."""
    return Problem(422, detail, reason=reason)


def is_integer(value: Any) -> bool:
    """Whether a JSON value is an integer (to Python a boolean is one, too)."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number."""
    return is_integer(value) or isinstance(value, float)


def shape_of(value: Any) -> list[int]:
    """The shape of nested lists, going by the first entry at each level."""
    shape: list[int] = []
    while isinstance(value, list) and len(shape) < _MAX_DEPTH:
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def shown(value: Any) -> str:
    """A value for a sentence."""
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


def listed(sizes: Collection[Any]) -> str:
    """A shape for a sentence, such as [batch, 4]."""
    return f"[{', '.join(str(size) for size in sizes)}]"


# the document, before any model is looked at


def parse(data: bytes, what: str = "body") -> Document:
    """The JSON object that was sent, NaN and infinite numbers kept as such. Raises Problem (400 or 422)."""
    try:
        document = json.loads(data.decode(), parse_int=_integer)
    except UnicodeDecodeError as error:
        detail = f"The {what} is not UTF-8: {error.reason} at byte {error.start}."
        raise Problem(400, detail, reason="not_json") from None
    except RecursionError:
        raise Problem(400, f"The {what} is nested too deeply to be read as JSON.", reason="not_json") from None
    except ValueError as error:
        found = f"is not JSON: {error}." if data else "is empty; expected a JSON object."
        raise Problem(400, f"The {what} {found}", reason="not_json") from None
    if not isinstance(document, dict):
        raise rejected("type", f"The {what} is {shown(document)}; expected a JSON object.")
    return document


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else math.copysign(math.inf, -1 if digits[0] == "-" else 1)


def check_fields(document: Document, fields: Collection[str], what: str = "body") -> None:
    """Checks everything in a request to act that does not depend on the model. Raises Problem (422)."""
    for name in document:
        if name not in fields:
            known = ", ".join(fields)
            raise rejected("fields", f"The {what} has an unknown field {shown(name)}; allowed are {known}.")
    allowed = [name for name in ("observation", "observations") if name in fields]
    sent = [name for name in allowed if name in document]
    if len(sent) != 1:
        found = "both observation and observations" if sent else "no observation"
        expected = "exactly one of observation and observations" if len(allowed) > 1 else "one"
        raise rejected("fields", f"The {what} has {found}; expected {expected}.")
    for option, (is_valid, expected) in _OPTIONS.items():
        if option in document and not is_valid(document[option]):
            raise rejected(option, f"{option} is {shown(document[option])}; expected {expected}.")


_OPTIONS: dict[Reason, tuple[Callable[[Any], bool], str]] = {
    "version": (
        lambda value: isinstance(value, str) or (is_integer(value) and 1 <= value <= MAX_VERSION),
        "a positive integer or the name of an alias",
    ),
    "epsilon": (lambda value: is_number(value) and 0 <= value <= 1, "a number from 0 to 1"),
    "seed": (lambda value: is_integer(value) and 0 <= value <= MAX_SEED, f"an integer from 0 to {MAX_SEED}"),
}


def unexplained(what: str, error: Exception) -> Problem:
    """The problem (422) if the decoders refused what passes all checks."""
    found = str(error) if isinstance(error, MsgspecError) else type(error).__name__
    return rejected("type", f"The {what} does not fit: {found}.")


def decode_problem(body: bytes, error: Exception) -> Problem:
    """The problem of a body that did not decode into a message's class and has no checks of its own."""
    try:
        document = parse(body)
    except Problem as problem:
        return problem
    if isinstance(error, ValidationError):
        match = _AT.fullmatch(str(error))
        fault, place = (match["fault"], match["place"]) if match else (str(error), None)
        reasons: dict[str | None, Reason] = {"parameters.epsilon": "epsilon", "parameters.seed": "seed"}
        return rejected(reasons.get(place, "fields"), f"The body does not fit: {place + ': ' if place else ''}{fault}.")
    # Python reads NaN and infinities, which JSON does not have: say where they are.
    for path, value in scalars(document, ""):
        if isinstance(value, float) and not math.isfinite(value):
            return rejected("non_finite", f"{path.lstrip('.')} is {shown(value)}; expected a finite number.")
    return Problem(400, f"The body is not JSON: {error or type(error).__name__}.", reason="not_json")


def scalars(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every number, string, boolean and null in a JSON value, with its path; in order, and without recursion."""
    pending = [iter([(path, value)])]
    while pending:
        found = next(pending[-1], None)
        if found is None:
            pending.pop()
            continue
        path, value = found
        if isinstance(value, list | dict):
            pending.append(_children(value, path))
        else:
            yield path, value


def _children(value: list[Any] | dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        return ((f"{path}[{index}]", item) for index, item in enumerate(value))
    return ((f"{path}.{name[:40]}", item) for name, item in value.items())
