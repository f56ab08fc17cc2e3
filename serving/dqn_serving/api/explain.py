"""What is wrong with a body or a frame that the typed decoders refused: the slow path, for faulty requests only.

A `Document` is what was sent, parsed without a schema. Each check raises the Problem of the first fault that it finds;
`model` names the policy in its sentence, and `what` the thing that was sent (a body or a frame).
"""

import json
import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from msgspec import MsgspecError

from dqn_serving.api.schemas import MAX_SEED, MAX_VERSION, ActRequest
from dqn_serving.policies.observations import ObservationReader
from dqn_serving.problems import Problem, Reason

Document = dict[str, Any]

_FIELDS = ActRequest.__struct_fields__
_MAX_DIGITS = 300  # a longer integer is beyond every type here, and slow to convert
_MAX_SHOWN = 40
_MAX_DEPTH = 8


# values in sentences: short, whatever was sent


def rejected(reason: Reason, detail: str) -> Problem:
    """The problem (422) of a body that is JSON but not a request for this model."""
    return Problem(422, detail, reason=reason)


def too_many(name: str, count: Any, most: int) -> Problem:
    """The problem (413) of a batch of more than `most` observations."""
    detail = f"{name} has {shown(count)} entries; at most {most} are allowed in one request."
    return Problem(413, detail, reason="too_large")


def is_integer(value: Any) -> bool:
    """Whether a JSON value is an integer (to Python a boolean is one, too)."""
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
        raise rejected("type", f"The {what} is {shown(document)}; expected a JSON object with an observation.")
    return document


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else math.copysign(math.inf, -1 if digits[0] == "-" else 1)


def check_fields(document: Document) -> None:
    """Checks everything in a body that does not depend on the model. Raises Problem (422)."""
    check_names(document, _FIELDS, "body")
    if ("observation" in document) == ("observations" in document):
        found = "both observation and observations" if "observation" in document else "no observation"
        raise rejected("fields", f"The body has {found}; expected exactly one of observation and observations.")
    check_options(document)


def check_names(document: Document, allowed: Collection[str], what: str) -> None:
    """Checks that there is no unknown field. Raises Problem (422)."""
    for name in document:
        if name not in allowed:
            known = ", ".join(allowed)
            raise rejected("fields", f"The {what} has an unknown field {shown(name)}; allowed are {known}.")


def check_options(document: Document) -> None:
    """Checks the version, epsilon and seed if they are given. Raises Problem (422)."""
    for name, (is_valid, expected) in _OPTIONS.items():
        if name in document and not is_valid(document[name]):
            raise rejected(name, f"{name} is {shown(document[name])}; expected {expected}.")


_OPTIONS: dict[Reason, tuple[Callable[[Any], bool], str]] = {
    "version": (
        lambda value: isinstance(value, str) or (is_integer(value) and 1 <= value <= MAX_VERSION),
        "a positive integer or the name of an alias",
    ),
    "epsilon": (lambda value: is_number(value) and 0 <= value <= 1, "a number from 0 to 1"),
    "seed": (lambda value: is_integer(value) and 0 <= value <= MAX_SEED, f"an integer from 0 to {MAX_SEED}"),
}


# observations and masks, against a policy


def check_observations(document: Document, reader: ObservationReader, model: str) -> None:
    """Checks the observation, or the batch of them, and the action mask. Raises Problem (413 or 422)."""
    if "observation" in document:
        _check_nested(document["observation"], reader, model, "observation", list(reader.shape))
        _check_mask(document, None, reader, model)
        return
    batch, expected = document["observations"], listed(["batch", *reader.shape])
    if not isinstance(batch, list):
        raise rejected("type", f"observations is {shown(batch)}; {model} expects a list of shape {expected}.")
    if not batch:
        raise rejected("shape", "observations is empty; expected at least one observation.")
    if len(batch) > reader.max_batch_size:
        raise too_many("observations", len(batch), reader.max_batch_size)
    if len(shape := shape_of(batch)) != len(reader.shape) + 1:
        raise rejected("shape", f"observations has shape {listed(shape)}; {model} expects {expected}.")
    for index, observation in enumerate(batch):
        _check_nested(observation, reader, model, f"observations[{index}]", list(reader.shape))
    _check_mask(document, len(batch), reader, model)


def _check_nested(value: Any, reader: ObservationReader, model: str, path: str, expected: list[int]) -> None:
    if not expected:
        check_element(value, reader, model, path)
    elif isinstance(value, list) and (found := shape_of(value)) != expected:
        raise rejected("shape", f"{path} has shape {listed(found)}; {model} expects {listed(expected)}.")
    elif not isinstance(value, list):
        reason: Reason = "shape" if is_number(value) else "type"
        found_shape = "shape []" if is_number(value) else f"the value {shown(value)}"
        raise rejected(reason, f"{path} has {found_shape}; {model} expects a list of shape {listed(expected)}.")
    else:
        for index, item in enumerate(value):
            _check_nested(item, reader, model, f"{path}[{index}]", expected[1:])


def check_element(value: Any, reader: ObservationReader, model: str, path: str) -> None:
    """Checks one element; `path` says which it is. Raises Problem (422)."""
    is_real = reader.dtype == np.float32
    reason: Reason | None = None
    if isinstance(value, bool) and reader.accepts_booleans:
        return
    if not is_number(value):
        reason = "type"
    elif not math.isfinite(value):
        reason = "non_finite"
    elif is_real:
        reason = None if reader.low < value < reader.high else "non_finite"
    elif isinstance(value, float):
        reason = "type"
    elif not reader.low <= value <= reader.high:
        reason = "out_of_range"
    if reason:
        kind = "a finite float32 number" if is_real else f"an integer from {int(reader.low)} to {int(reader.high)}"
        raise rejected(reason, f"{path} is {shown(value)}; {model} expects {kind}.")


def _check_mask(document: Document, batch: int | None, reader: ObservationReader, model: str) -> None:
    """Checks the action mask, if there is one: [n_actions], or [batch, n_actions]. Raises Problem (422)."""
    if "action_mask" not in document:
        return
    mask, size = document["action_mask"], reader.n_actions
    expected = f"{model} expects a list of {size} booleans (or 0 and 1)"
    expected += " or one such list for each observation" if batch else ""
    per_row = batch is not None and isinstance(mask, list) and bool(mask) and isinstance(mask[0], list)
    if per_row and len(mask) != batch:
        raise rejected("action_mask", f"action_mask has {len(mask)} lists for {batch} observations; {expected}.")
    for index, row in enumerate(mask if per_row else [mask]):
        path = f"action_mask[{index}]" if per_row else "action_mask"
        if not isinstance(row, list):
            raise rejected("action_mask", f"{path} is {shown(row)}; {expected}.")
        if len(row) != size:
            raise rejected("action_mask", f"{path} has {len(row)} entries; {expected}.")
        for item in row:
            if not (isinstance(item, bool) or (is_integer(item) and item in {0, 1})):
                raise rejected("action_mask", f"{path} is a list with {shown(item)} in it; {expected}.")
        if not any(row):
            raise all_masked(path)


def all_masked(path: str) -> Problem:
    """The problem (422) of a mask that allows no action."""
    return rejected("action_mask", f"{path} masks every action; at least one must be allowed.")


def unexplained(what: str, error: Exception) -> Problem:
    """The problem (422) where the decoders refused what all checks let pass."""
    found = str(error) if isinstance(error, MsgspecError) else type(error).__name__
    return rejected("type", f"The {what} does not fit: {found}.")
