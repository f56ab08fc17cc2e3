"""Tensors between the wire and NumPy: input in JSON or binary, checked for one policy; output in either form."""

import functools
import math
import re
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Raw, UnsetType
from numpy.typing import NDArray

from dqn_models.policy import Observations
from dqn_serving.api.explain.wording import listed, rejected, shown
from dqn_serving.api.oip.diagnosis import check_elements, misfit
from dqn_serving.api.oip.masks import MASK, read_mask
from dqn_serving.api.oip.messages import BinarySize, InputTensor, OutputTensor
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.observations import BoolArray, ObservationReader
from dqn_serving.problems import Problem

DATATYPES = {"float32": "FP32", "float64": "FP64", "uint8": "UINT8", "int64": "INT64"}
INPUT = "observation"

_DATATYPE_OF = {np.dtype(name): datatype for name, datatype in DATATYPES.items()}  # an array's dtype.name is slow

_NESTED = re.compile(rb"\s*\[\s*\[")


class Inputs(NamedTuple):
    """What a request asks about."""

    observations: Observations
    mask: BoolArray | None
    """Which actions may be chosen, [batch, n_actions]."""


def read_inputs(inputs: list[InputTensor], binary: memoryview, loaded: LoadedPolicy) -> Inputs:
    """The observations of a request, [batch, *observation_shape] in the policy's dtype, and its action mask.

    Raises Problem (413 or 422) where the inputs are not tensors that fit the policy.
    """
    names = [tensor.name for tensor in inputs]
    if names.count(INPUT) != 1 or names.count(MASK) != len(names) - 1 or len(names) > 2:
        found = ", ".join(shown(name) for name in names[:8]) or "none"
        raise rejected(
            "fields", f"The inputs are {found}; {loaded} expects exactly one {INPUT!r}; {MASK!r} is optional."
        )
    raw = _raw_parts(inputs, binary)
    observations = _read_observations(inputs[names.index(INPUT)], raw[INPUT], loaded)
    if MASK not in names:
        return Inputs(observations, None)
    mask = read_mask(inputs[names.index(MASK)], raw[MASK], [len(observations), loaded.observations.n_actions], loaded)
    return Inputs(observations, mask)


def _raw_parts(inputs: list[InputTensor], binary: memoryview) -> dict[str, memoryview]:
    """The bytes of each tensor that is sent in binary: they follow one another in the order of the inputs."""
    parts: dict[str, memoryview] = {}
    for tensor in inputs:
        size = tensor.parameters.binary_data_size if tensor.parameters else UNSET
        if (size is UNSET) is (tensor.data is UNSET):
            found = "neither data nor" if size is UNSET else "both data and"
            raise rejected("fields", f"{tensor.name} has {found} binary_data_size; expected is one of them.")
        is_last = tensor is inputs[-1]  # has what is left, so that a wrong size is told with the bytes that there are
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
        raise rejected("type", f"{INPUT} has datatype {shown(tensor.datatype)}; {loaded} expects {datatype}.")
    _check_shape(tensor.shape, reader, str(loaded))
    if tensor.data is not UNSET:
        return _from_json(tensor.data, tensor.shape, loaded).reshape(tensor.shape[0], *reader.shape)
    size = tensor.parameters.binary_data_size if tensor.parameters else UNSET
    return _from_binary(raw, size, tensor.shape, loaded).reshape(tensor.shape[0], *reader.shape)


def _check_shape(shape: list[int], reader: ObservationReader, model: str) -> None:
    # Triton has no tensors of shape [batch]: its clients send [batch, 1] instead.
    allowed = (reader.shape, reader.shape or (1,))
    if not shape or tuple(shape[1:]) not in allowed or shape[0] < 1:
        found = listed([shown(size) for size in shape[:8]])
        raise rejected("shape", f"{INPUT} has shape {found}; {model} expects {listed(['batch', *reader.shape])}.")
    if shape[0] > reader.max_batch_size:
        found = f"{INPUT} has {shown(shape[0])} entries"
        raise Problem(413, f"{found}; at most {reader.max_batch_size} are allowed in one request.", reason="too_large")


def _from_binary(binary: memoryview, size: int | UnsetType, shape: list[int], loaded: LoadedPolicy) -> Observations:
    dtype = loaded.observations.dtype
    expected = math.prod(shape) * dtype.itemsize
    if size != expected or len(binary) != size:
        found = f"binary_data_size {shown(size)} and {len(binary)} bytes after the JSON"
        raise rejected("shape", f"{INPUT} has {found}; shape {listed(shape)} needs {expected} bytes.")
    elements = np.frombuffer(binary, dtype.newbyteorder("<"))
    check_elements(elements, loaded)
    return np.array(elements, dtype)  # aligned, and in this machine's byte order


def _from_json(data: Raw, shape: list[int], loaded: LoadedPolicy) -> Observations:
    reader = loaded.observations
    is_nested = _NESTED.match(memoryview(data)) is not None
    decode = _decoder(reader.dtype.kind == "f", reader.low, reader.high, len(shape) if is_nested else 1)
    try:
        elements = np.array(decode(data), reader.dtype)
    except (ValueError, RecursionError):  # wrong elements, or ragged lists
        raise misfit(bytes(data), shape, reader, str(loaded)) from None
    if elements.size != math.prod(shape) or (is_nested and list(elements.shape) != shape):
        found = f"shape {listed(list(elements.shape))}" if is_nested else f"{elements.size} elements"
        raise rejected("shape", f"The data of {INPUT} has {found}; its shape is {listed(shape)}.")
    return elements


@functools.lru_cache(maxsize=64)
def _decoder(is_real: bool, low: float, high: float, depth: int) -> Any:  # noqa: FBT001  (private, and cached by place)
    """A typed decoder of lists nested so deep whose elements are within the bounds of a policy."""
    kind: Any = Annotated[float, Meta(gt=low, lt=high)] if is_real else Annotated[int, Meta(ge=low, le=high)]
    for _ in range(depth):
        kind = list[kind]
    return msgspec.json.Decoder(kind).decode


def write_output(name: str, values: NDArray[Any], *, is_binary: bool) -> tuple[OutputTensor, bytes]:
    """An output for the answer's JSON, and the bytes that follow the JSON (none where the data is in it)."""
    shape, datatype = list(values.shape), _DATATYPE_OF[values.dtype]
    if not is_binary:
        return OutputTensor(name, shape, datatype, data=values.ravel().tolist()), b""
    raw = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    return OutputTensor(name, shape, datatype, BinarySize(len(raw))), raw
