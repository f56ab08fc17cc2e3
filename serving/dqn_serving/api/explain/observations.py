"""What is wrong with observations: their nesting, their size or one of their elements."""

import math
from typing import Any

import numpy as np

from dqn_serving.api.explain.wording import Document, is_number, listed, rejected, shape_of, shown
from dqn_serving.policies.observations import ObservationReader
from dqn_serving.problems import Problem, Reason


def check_observations(document: Document, reader: ObservationReader, model: str) -> None:
    """Checks the observations against a policy; `model` names it in the detail. Raises Problem."""
    if "observation" in document:
        _check(document["observation"], reader, model, "observation", list(reader.shape))
        return
    batch = document["observations"]
    if not isinstance(batch, list):
        expected = listed(["batch", *reader.shape])
        raise rejected("type", f"observations is {shown(batch)}; {model} expects a list of shape {expected}.")
    if not batch:
        raise rejected("shape", "observations is empty; expected is at least one observation.")
    if len(batch) > reader.max_batch_size:
        found = f"observations has {len(batch)} entries"
        raise Problem(413, f"{found}; at most {reader.max_batch_size} are allowed in one request.", reason="too_large")
    if len(shape := shape_of(batch)) != len(reader.shape) + 1:
        expected = listed(["batch", *reader.shape])
        raise rejected("shape", f"observations has shape {listed(shape)}; {model} expects {expected}.")
    for index, observation in enumerate(batch):
        _check(observation, reader, model, f"observations[{index}]", list(reader.shape))


def _check(value: Any, reader: ObservationReader, model: str, path: str, expected: list[int]) -> None:
    if not expected:
        check_element(value, reader, model, path)
    elif isinstance(value, list) and (found := shape_of(value)) != expected:
        raise rejected("shape", f"{path} has shape {listed(found)}; {model} expects {listed(expected)}.")
    elif not isinstance(value, list):
        found_shape = "shape []" if is_number(value) else f"the value {shown(value)}"
        reason: Reason = "shape" if is_number(value) else "type"
        raise rejected(reason, f"{path} has {found_shape}; {model} expects a list of shape {listed(expected)}.")
    else:
        for index, item in enumerate(value):
            _check(item, reader, model, f"{path}[{index}]", expected[1:])


def check_element(value: Any, reader: ObservationReader, model: str, path: str) -> None:
    """Checks one element; `path` names it in the detail. Raises Problem."""
    reason = _element_fault(value, reader)
    if reason:
        real = reader.dtype == np.float32
        kind = "a finite float32 number" if real else f"an integer from {int(reader.low)} to {int(reader.high)}"
        raise rejected(reason, f"{path} is {shown(value)}; {model} expects {kind}.")


def _element_fault(value: Any, reader: ObservationReader) -> Reason | None:
    if not is_number(value):
        return "type"
    if not math.isfinite(value):
        return "non_finite"
    if reader.dtype == np.float32:
        return None if reader.low < value < reader.high else "non_finite"
    if isinstance(value, float):
        return "type"
    return None if reader.low <= value <= reader.high else "out_of_range"
