"""Tensors between the wire and NumPy, both ways, in JSON or binary: observations, action masks and outputs."""

import math
import re
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, Raw
from numpy.typing import NDArray

from dqn_models.policy import Observations
from dqn_serving.api.explain import listed, rejected, shown
from dqn_serving.api.explain_observations import all_masked, check_elements, mismatch, too_many
from dqn_serving.api.oip.messages import BinarySize, InferRequest, InputTensor, OutputTensor, RequestParameters
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.observations import FLAG, BoolArray, ObservationReader
from dqn_serving.problems import Reason

OBSERVATION, MASK = "observation", "action_mask"
Q_VALUES, ACTION, PROPENSITY = "q_values", "action", "propensity"
OUTPUTS = (Q_VALUES, ACTION, PROPENSITY)
DATATYPES = {"float32": "FP32", "float64": "FP64", "uint8": "UINT8", "int64": "INT64"}
MASK_DATATYPE = "BOOL"

_DATATYPE_OF = {np.dtype(name): datatype for name, datatype in DATATYPES.items()}  # an array's dtype.name is slow
_NESTED = re.compile(rb"\s*\[\s*\[")

_decode_flags = {1: msgspec.json.Decoder(list[FLAG]).decode, 2: msgspec.json.Decoder(list[list[FLAG]]).decode}


def read_inputs(
    inputs: list[InputTensor], binary: memoryview, loaded: LoadedPolicy
) -> tuple[Observations, BoolArray | None]:
    """The observations [batch, *observation_shape] of a request and its action mask [batch, n_actions].

    `binary` is what follows the JSON. Raises Problem (413 or 422) if the inputs are not tensors that fit the policy.
    """
    names = [tensor.name for tensor in inputs]
    if names.count(OBSERVATION) != 1 or names.count(MASK) != len(names) - 1 or len(names) > 2:
        found = ", ".join(shown(name) for name in names[:8]) or "none"
        expected = f"{loaded} expects exactly one {OBSERVATION!r}; {MASK!r} is optional"
        raise rejected("fields", f"The inputs are {found}; {expected}.")
    raw = _raw_parts(inputs, binary)
    observations = _read_observations(inputs[names.index(OBSERVATION)], raw[OBSERVATION], loaded)
    if MASK not in names:
        return observations, None
    shape = [len(observations), loaded.observations.n_actions]
    return observations, _read_mask(inputs[names.index(MASK)], raw[MASK], shape, loaded)


def _raw_parts(inputs: list[InputTensor], binary: memoryview) -> dict[str, memoryview]:
    """The bytes of each tensor that is sent in binary: they follow one another in the order of the inputs."""
    parts: dict[str, memoryview] = {}
    for tensor in inputs:
        size = tensor.binary_size
        if (size is UNSET) is (tensor.data is UNSET):
            found = "neither data nor" if size is UNSET else "both data and"
            raise rejected("fields", f"{tensor.name} has {found} binary_data_size; expected one of them.")
        is_last = tensor is inputs[-1]  # gets all the rest, so that a wrong size is reported with the bytes that came
        end = len(binary) if is_last else min(0 if size is UNSET else size, len(binary))
        parts[tensor.name], binary = binary[:end], binary[end:]
        if size is UNSET and parts[tensor.name]:
            found = f"{len(parts[tensor.name])} bytes follow the JSON"
            raise rejected("fields", f"{found}, but {tensor.name} has its data in the JSON.")
    return parts


def _read_observations(tensor: InputTensor, raw: memoryview, loaded: LoadedPolicy) -> Observations:
    reader = loaded.observations
    datatype = _DATATYPE_OF[reader.dtype]
    if tensor.datatype != datatype:
        raise rejected("type", f"{OBSERVATION} has datatype {shown(tensor.datatype)}; {loaded} expects {datatype}.")
    _check_shape(tensor.shape, reader, str(loaded))
    if tensor.data is UNSET:
        elements = _from_binary(tensor, raw, loaded)
    else:
        elements = _from_json(tensor.data, tensor.shape, loaded)
    return elements.reshape(tensor.shape[0], *reader.shape)


def _check_shape(shape: list[int], reader: ObservationReader, model: str) -> None:
    # Triton has no tensors of shape [batch]: its clients send [batch, 1] instead.
    allowed = (reader.shape, reader.shape or (1,))
    if not shape or tuple(shape[1:]) not in allowed or shape[0] < 1:
        found = listed([shown(size) for size in shape[:8]])
        raise rejected("shape", f"{OBSERVATION} has shape {found}; {model} expects {listed(['batch', *reader.shape])}.")
    if shape[0] > reader.max_batch_size:
        raise too_many(OBSERVATION, shape[0], reader.max_batch_size)


def _from_binary(tensor: InputTensor, raw: memoryview, loaded: LoadedPolicy) -> Observations:
    dtype = loaded.observations.dtype
    _check_size(tensor, raw, math.prod(tensor.shape) * dtype.itemsize, "shape")
    elements = np.frombuffer(raw, dtype.newbyteorder("<"))
    check_elements(elements, loaded)
    return np.array(elements, dtype)  # aligned, and in this machine's byte order


def _check_size(tensor: InputTensor, raw: memoryview, expected: int, reason: Reason) -> None:
    """Checks the size of a binary tensor, in bytes."""
    if not tensor.binary_size == expected == len(raw):
        found = f"binary_data_size {shown(tensor.binary_size)} and {len(raw)} bytes after the JSON"
        raise rejected(reason, f"{tensor.name} has {found}; shape {listed(tensor.shape)} needs {expected} bytes.")


def _from_json(data: Raw, shape: list[int], loaded: LoadedPolicy) -> Observations:
    reader = loaded.observations
    depth = _depth(data, shape)
    try:
        elements = np.array(reader.decode_nested(data, depth), reader.dtype)
    except (ValueError, RecursionError):  # wrong elements, or ragged lists
        raise mismatch(bytes(data), shape, reader, str(loaded)) from None
    _check_count(elements, shape, OBSERVATION, "shape")
    return elements


def _depth(data: Raw, shape: list[int]) -> int:
    """How deep the data is nested: it may be flat, or as its shape says."""
    return len(shape) if _NESTED.match(memoryview(data)) else 1


def _check_count(elements: NDArray[Any], shape: list[int], name: str, reason: Reason) -> None:
    """Checks the number and the nesting of elements in JSON."""
    is_nested = elements.ndim > 1
    if elements.size != math.prod(shape) or (is_nested and list(elements.shape) != shape):
        found = f"shape {listed(elements.shape)}" if is_nested else f"{elements.size} elements"
        raise rejected(reason, f"The data of {name} has {found}; its shape is {listed(shape)}.")


def _read_mask(tensor: InputTensor, raw: memoryview, shape: list[int], loaded: LoadedPolicy) -> BoolArray:
    """The mask, whose shape must be [batch, n_actions] and of which each row must allow an action."""
    if tensor.datatype not in {MASK_DATATYPE, "INT8", "UINT8"}:  # Gymnasium's masks are int8
        raise rejected("action_mask", f"{MASK} has datatype {shown(tensor.datatype)}; expected {MASK_DATATYPE}.")
    if tensor.shape != shape:
        found = listed([shown(size) for size in tensor.shape[:8]])
        raise rejected("action_mask", f"{MASK} has shape {found}; {loaded} expects {listed(shape)} for this batch.")
    mask = _mask_from_binary(tensor, raw) if tensor.data is UNSET else _mask_from_json(tensor.data, shape)
    is_possible = mask.any(axis=1)
    if not is_possible.all():
        raise all_masked(f"{MASK}[{int(is_possible.argmin())}]")
    return mask


def _mask_from_binary(tensor: InputTensor, raw: memoryview) -> BoolArray:
    _check_size(tensor, raw, math.prod(tensor.shape), "action_mask")
    elements = np.frombuffer(raw, np.uint8)
    if (elements > 1).any():
        index = int((elements > 1).argmax())
        raise rejected("action_mask", f"element {index} of the binary {MASK} is {elements[index]}; expected 0 or 1.")
    return elements.astype(np.bool_).reshape(tensor.shape)


def _mask_from_json(data: Raw, shape: list[int]) -> BoolArray:
    try:
        elements = np.array(_decode_flags[_depth(data, shape)](data), np.bool_)
    except ValueError:  # wrong elements, or ragged lists
        found = f"The data of {MASK} is not a list of booleans, flat or nested as its shape says."
        raise rejected("action_mask", found) from None
    _check_count(elements, shape, MASK, "action_mask")
    return elements.reshape(shape)


# outputs


def requested_outputs(request: InferRequest, parameters: RequestParameters) -> dict[str, bool]:
    """The names of the outputs to send, each with whether in binary. Raises Problem (422)."""
    names = OUTPUTS[:2] if parameters.epsilon is UNSET else OUTPUTS
    outputs: dict[str, bool] = {}
    for output in request.outputs or ():
        if output.name not in names or output.name in outputs:
            found = "requested twice" if output.name in outputs else "unknown"
            raise rejected("fields", f"Output {shown(output.name)} is {found}; allowed are {', '.join(names)}.")
        options = output.parameters
        if options and (options.classification is not None or options.shared_memory_region is not None):
            raise rejected("fields", f"Output {output.name} needs an extension that this server does not have.")
        is_binary = options.binary_data if options else UNSET
        outputs[output.name] = parameters.binary_data_output if is_binary is UNSET else is_binary
    return outputs or dict.fromkeys(names, parameters.binary_data_output)


def write_output(name: str, values: NDArray[Any], *, is_binary: bool) -> tuple[OutputTensor, bytes]:
    """An output [batch, ...] for the answer's JSON, and the bytes that follow the JSON (none if not binary)."""
    shape, datatype = list(values.shape), _DATATYPE_OF[values.dtype]
    if not is_binary:
        return OutputTensor(name, shape, datatype, data=values.ravel().tolist()), b""
    raw = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    return OutputTensor(name, shape, datatype, BinarySize(len(raw))), raw
