"""What is wrong with a request of the protocol: the slow path, for faulty requests only."""

import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from dqn_models.policy import Observations
from dqn_serving.api import explain
from dqn_serving.api.explain import check_element, listed, rejected, shape_of, shown
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.observations import ObservationReader
from dqn_serving.problems import Problem, Reason

_AT = re.compile(r"(?P<fault>.*?)(?: - at `\$\.?(?P<place>.*)`)?", re.DOTALL)


def decode_problem(body: bytes, error: Exception) -> Problem:
    """The answer to JSON that did not decode into a request."""
    if isinstance(error, msgspec.ValidationError):
        return _misplaced(error)
    try:
        document = explain.parse(body)
    except Problem as problem:
        return problem
    # Python reads NaN and infinities, which JSON does not have: say where they are.
    for path, value in _scalars(document, ""):
        if isinstance(value, float) and not math.isfinite(value):
            return rejected("non_finite", f"{path.lstrip('.')} is {shown(value)}; expected a finite number.")
    return Problem(400, f"The body is not JSON: {error or type(error).__name__}.", reason="not_json")


def _misplaced(error: msgspec.ValidationError) -> Problem:
    match = _AT.fullmatch(str(error))
    fault, place = (match["fault"], match["place"]) if match else (str(error), None)
    reasons: dict[str | None, Reason] = {"parameters.epsilon": "epsilon", "parameters.seed": "seed"}
    where = f"{place}: " if place else ""
    return rejected(reasons.get(place, "fields"), f"The request is not one of the protocol. {where}{fault}.")


def mismatch(data: bytes, shape: list[int], reader: ObservationReader, model: str) -> Problem:
    """The answer to data in JSON whose elements or nesting do not fit the policy."""
    try:
        values = explain.parse(b'{"data": ' + data + b"}")["data"]
        if not isinstance(values, list):
            return rejected("type", f"data is {shown(values)}; expected a list, flat or nested.")
        for path, value in _scalars(values, "data"):
            check_element(value, reader, model, path)
    except Problem as problem:
        return problem
    return rejected("shape", f"data has shape {listed(shape_of(values))} or is ragged; its shape is {listed(shape)}.")


def check_elements(elements: Observations, loaded: LoadedPolicy) -> None:
    """Checks the elements of a binary tensor. Raises Problem (422) that names the first wrong one."""
    reader = loaded.observations
    if elements.dtype.kind == "f":
        is_right = np.isfinite(elements)
    elif elements.dtype.itemsize == 1:
        return
    else:
        is_right = (elements >= reader.low) & (elements <= reader.high)
    if not is_right.all():
        index = int(is_right.argmin())
        check_element(elements[index].item(), reader, str(loaded), f"element {index} of the binary data")


def _scalars(value: Any, path: str) -> Iterator[tuple[str, Any]]:
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
