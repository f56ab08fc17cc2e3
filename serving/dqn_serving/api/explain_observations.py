"""What is wrong with an observation or an action mask that a policy's typed decoders refused, however it was sent.

Each check raises the Problem of the first fault that it finds; `model` names the policy in its sentence.
"""

import math
from typing import Any

import numpy as np

from dqn_models.policy import Observations
from dqn_serving.api.explain import Document, is_integer, is_number, listed, parse, rejected, scalars, shape_of, shown
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.observations import ObservationReader
from dqn_serving.problems import Problem, Reason


def too_many(name: str, count: Any, most: int) -> Problem:
    """The problem (413) of a batch of more than `most` observations."""
    detail = f"{name} has {shown(count)} entries; at most {most} are allowed in one request."
    return Problem(413, detail, reason="too_large")


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


def mismatch(data: bytes, shape: list[int], reader: ObservationReader, model: str) -> Problem:
    """The answer to data in JSON whose elements or nesting do not fit the policy."""
    try:
        values = parse(b'{"data": ' + data + b"}")["data"]
        if not isinstance(values, list):
            return rejected("type", f"data is {shown(values)}; expected a list, flat or nested.")
        for path, value in scalars(values, "data"):
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
