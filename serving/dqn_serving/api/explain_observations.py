"""What is wrong with an observation that a policy's typed decoders refused, in any encoding.

Each check raises the Problem of the first fault that it finds; `model` names the policy in its sentence.
"""

import math
from typing import Any

from dqn_models.policy import Observations
from dqn_serving.api.explain import Document, is_number, listed, parse, rejected, scalars, shape_of, shown
from dqn_serving.api.explain_masks import check_mask
from dqn_serving.policies.forms import CompositeForm, Form
from dqn_serving.policies.leaves import Bounds, LeafReader
from dqn_serving.policies.observations import ObservationReader
from dqn_serving.problems import Problem, Reason


def too_many(name: str, count: Any, maximum: int) -> Problem:
    """The problem (413) of a batch of more than `maximum` observations."""
    detail = f"{name} has {shown(count)} entries; at most {maximum} are allowed in one request."
    return Problem(413, detail, reason="too_large")


def check_observations(document: Document, reader: ObservationReader, model: str) -> None:
    """Checks the observation, or the batch of them, and the action mask. Raises Problem (413 or 422)."""
    if "observation" in document:
        _check_form(document["observation"], reader.form, model, "observation")
        check_mask(document, None, reader.masks, model)
        return
    batch, shape = document["observations"], getattr(reader.form, "shape", None)
    expected = "a list of observations" if shape is None else f"a list of shape {listed(['batch', *shape])}"
    if not isinstance(batch, list):
        raise rejected("type", f"observations is {shown(batch)}; {model} expects {expected}.")
    if not batch:
        raise rejected("shape", "observations is empty; expected at least one observation.")
    if len(batch) > reader.max_batch_size:
        raise too_many("observations", len(batch), reader.max_batch_size)
    if shape is not None and len(found := shape_of(batch)) != len(shape) + 1:
        expected = listed(["batch", *shape])
        raise rejected("shape", f"observations has shape {listed(found)}; {model} expects {expected}.")
    for index, observation in enumerate(batch):
        _check_form(observation, reader.form, model, f"observations[{index}]")
    check_mask(document, len(batch), reader.masks, model)


def _check_form(value: Any, form: Form, model: str, path: str) -> None:
    if isinstance(form, LeafReader):
        _check_nested(value, form, list(form.shape), form.bounds, model, path)
        return
    (_check_places if form.is_array else _check_keys)(value, form, model, path)
    for key, member in form.members.items():
        inner = f"{path}[{key}]" if form.is_array else f"{path}.{key}"
        _check_form(value[key], member, model, inner)


def _check_places(value: Any, form: CompositeForm, model: str, path: str) -> None:
    expected = f"{model} expects an array of {len(form.keys)}"
    if not isinstance(value, list):
        raise rejected("type", f"{path} is {shown(value)}; {expected}.")
    if len(value) != len(form.keys):
        raise rejected("shape", f"{path} has {len(value)} entries; {expected}.")


def _check_keys(value: Any, form: CompositeForm, model: str, path: str) -> None:
    expected = f"{model} expects an object with {', '.join(map(str, form.keys))}"
    if not isinstance(value, dict):
        raise rejected("type", f"{path} is {shown(value)}; {expected}.")
    for key in form.keys:
        if key not in value:
            raise rejected("fields", f"{path} has no {key}; {expected}.")
    for key in value:
        if key not in form.keys and key not in form.ignored:
            raise rejected("fields", f"{path} has an unknown key {shown(key)}; {expected}.")


def _check_nested(value: Any, leaf: LeafReader, expected: list[int], bounds: Bounds, model: str, path: str) -> None:
    """Checks a value, or part of one, against the shape `expected` and the bounds of its elements."""
    if not expected:
        _check_element(value, leaf, bounds, model, path)
    elif isinstance(value, list) and (found := shape_of(value)) != expected:
        raise rejected("shape", f"{path} has shape {listed(found)}; {model} expects {listed(expected)}.")
    elif not isinstance(value, list):
        reason: Reason = "shape" if is_number(value) else "type"
        found_shape = "shape []" if is_number(value) else f"the value {shown(value)}"
        raise rejected(reason, f"{path} has {found_shape}; {model} expects a list of shape {listed(expected)}.")
    else:
        inner, (low, high) = expected[1:], bounds
        is_shared = not isinstance(low, list)
        for index, item in enumerate(value):
            within = bounds if is_shared else (low[index], high[index])
            _check_nested(item, leaf, inner, within, model, f"{path}[{index}]")


def _check_element(value: Any, leaf: LeafReader, bounds: Bounds, model: str, path: str) -> None:
    """Checks one element; `path` says which it is. Raises Problem (422)."""
    low, high = bounds
    reason: Reason | None = None
    if isinstance(value, bool) and leaf.accepts_booleans:
        return
    if not is_number(value):
        reason = "type"
    elif not math.isfinite(value):
        reason = "non_finite"
    elif leaf.is_real:
        reason = None if low < value < high else "non_finite"
    elif isinstance(value, float):
        reason = "type"
    elif not low <= value <= high:
        reason = "out_of_range"
    if reason:
        kind = "a finite float32 number" if leaf.is_real else f"an integer from {low} to {high}"
        raise rejected(reason, f"{path} is {shown(value)}; {model} expects {kind}.")


def mismatch(data: bytes, shape: list[int], leaf: LeafReader, model: str) -> Problem:
    """The problem (422) of a tensor's JSON data whose elements or nesting do not fit the policy."""
    try:
        values = parse(b'{"data": ' + data + b"}")["data"]
        if not isinstance(values, list):
            return rejected("type", f"data is {shown(values)}; expected a list, flat or nested.")
        widest = leaf.low.min().item(), leaf.high.max().item()
        for path, value in scalars(values, "data"):
            _check_element(value, leaf, widest, model, path)
    except Problem as problem:
        return problem
    return rejected("shape", f"data has shape {listed(shape_of(values))} or is ragged; its shape is {listed(shape)}.")


def check_elements(batch: Observations, leaf: LeafReader, model: object, what: str) -> None:
    """Checks the elements of a tensor [batch, *shape]. Raises Problem (422) that names the first invalid one."""
    index = leaf.first_invalid(batch)
    if index is not None:
        low, high = (bounds.flat[index % bounds.size].item() for bounds in (leaf.low, leaf.high))
        _check_element(batch.flat[index].item(), leaf, (low, high), str(model), f"element {index} of the {what}")
