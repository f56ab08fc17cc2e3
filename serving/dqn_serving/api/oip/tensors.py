"""Conversion of tensors between the wire (JSON or binary) and NumPy: observations, action masks and outputs."""

import math
import re
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, Raw
from numpy.typing import NDArray

from dqn_models.masks import ACTION_MASK, BoolArray
from dqn_models.policy import Observations
from dqn_serving.api.explain import listed, rejected, shown
from dqn_serving.api.explain_masks import all_masked, check_observed, mask_missing
from dqn_serving.api.explain_observations import check_elements, mismatch, too_many
from dqn_serving.api.oip.messages import BinarySize, InferRequest, InputTensor, OutputTensor, RequestParameters
from dqn_serving.policies.leaves import LeafReader
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.masks import FLAG
from dqn_serving.problems import Problem, Reason

Q_VALUES, ACTION, PROPENSITY = "q_values", "action", "propensity"
OUTPUTS = (Q_VALUES, ACTION, PROPENSITY)
DATATYPES = {"float32": "FP32", "float64": "FP64", "uint8": "UINT8", "int64": "INT64"}
MASK_DATATYPE = "BOOL"

_DATATYPE_OF = {np.dtype(name): datatype for name, datatype in DATATYPES.items()}  # an array's dtype.name is slow
_NESTED = re.compile(rb"\s*\[\s*\[")

_FLAGS = {1: msgspec.json.Decoder(list[FLAG]).decode, 2: msgspec.json.Decoder(list[list[FLAG]]).decode}


def read_inputs(
    inputs: list[InputTensor], binary: memoryview, loaded: LoadedPolicy
) -> tuple[Observations, BoolArray | None]:
    """The observations of a request, a batch in the policy's dtype, and its action mask [batch, n_actions].

    `binary` holds the bytes after the JSON. Raises Problem (413 or 422) if the inputs do not fit the policy.
    """
    reader = loaded.observations
    sent = {tensor.name: tensor for tensor in inputs}
    mask = sent.get(ACTION_MASK)
    expected = len(reader.input_names) + (mask is not None)
    if len(inputs) != expected or len(sent) != expected or not sent.keys() >= reader.input_names:
        raise _wrong_inputs(inputs, loaded)
    raw = _raw_parts(inputs, binary)
    if isinstance(leaf := reader.form, LeafReader):
        observations = _read_leaf(sent[leaf.input_name], raw[leaf.input_name], leaf, loaded)
    else:
        observations = _read_leaves(sent, raw, loaded)
    if mask is not None:
        return observations, _read_mask(mask, raw[ACTION_MASK], [len(observations), reader.n_actions], loaded)
    return observations, _mask_without_tensor(observations, loaded) if reader.masks.is_used else None


def _wrong_inputs(inputs: list[InputTensor], loaded: LoadedPolicy) -> Problem:
    found = ", ".join(shown(tensor.name) for tensor in inputs[:8]) or "none"
    first, *others = (leaf.input_name for leaf in loaded.observations.form.leaves)
    needed = f"one tensor for each of {', '.join((first, *others))}" if others else f"exactly one {first!r}"
    return rejected("fields", f"The inputs are {found}; {loaded} expects {needed}; {ACTION_MASK!r} is optional.")


def _read_leaves(sent: dict[str, InputTensor], raw: dict[str, memoryview], loaded: LoadedPolicy) -> Observations:
    """The observations of several leaves, whose tensors must have the same batch."""
    leaves = loaded.observations.form.leaves
    tensors = [_read_leaf(sent[leaf.input_name], raw[leaf.input_name], leaf, loaded) for leaf in leaves]
    first, batch = leaves[0].input_name, len(tensors[0])
    for leaf, tensor in zip(leaves, tensors, strict=True):
        if len(tensor) != batch:
            found = f"{leaf.input_name} has {len(tensor)} observations, but {first} has {batch}"
            raise rejected("shape", f"{found}; expected the same number.")
    return loaded.observations.join(tensors)


def _mask_without_tensor(observations: Observations, loaded: LoadedPolicy) -> BoolArray | None:
    """The mask in the observations, if it is there. Raises Problem (422) if it should have been sent."""
    masks = loaded.observations.masks
    if masks.is_required:
        raise mask_missing(
            str(loaded), f"a tensor {ACTION_MASK} of shape {listed([len(observations), masks.n_actions])}"
        )
    try:
        return masks.observed(observations)
    except ValueError:
        check_observed(observations[ACTION_MASK].tolist(), "observation[{}]", loaded.action_space)
        raise


def _raw_parts(inputs: list[InputTensor], binary: memoryview) -> dict[str, memoryview]:
    """The bytes of each tensor that is sent in binary, in the order of the inputs."""
    parts: dict[str, memoryview] = {}
    for tensor in inputs:
        size = tensor.binary_size
        if (size is UNSET) is (tensor.data is UNSET):
            found = "neither data nor" if size is UNSET else "both data and"
            raise rejected("fields", f"{tensor.name} has {found} binary_data_size; expected one of them.")
        is_last = (
            tensor is inputs[-1]
        )  # gets all remaining bytes, so that a wrong size is reported with the number of bytes sent
        end = len(binary) if is_last else min(0 if size is UNSET else size, len(binary))
        parts[tensor.name], binary = binary[:end], binary[end:]
        if size is UNSET and parts[tensor.name]:
            found = f"{len(parts[tensor.name])} bytes follow the JSON"
            raise rejected("fields", f"{found}, but {tensor.name} has its data in the JSON.")
    return parts


def _read_leaf(tensor: InputTensor, raw: memoryview, leaf: LeafReader, loaded: LoadedPolicy) -> Observations:
    """One leaf of the observations, [batch, *shape]."""
    datatype = _DATATYPE_OF[leaf.dtype]
    if tensor.datatype != datatype and not (leaf.accepts_booleans and tensor.datatype == MASK_DATATYPE):
        raise rejected("type", f"{tensor.name} has datatype {shown(tensor.datatype)}; {loaded} expects {datatype}.")
    _check_shape(tensor, leaf, loaded)
    elements = _elements(tensor, raw, leaf.dtype, leaf.decode_nested, "shape")
    if elements is None:
        raise mismatch(bytes(tensor.data or b""), tensor.shape, leaf, str(loaded))
    batch = elements.reshape(tensor.shape[0], *leaf.shape)
    is_binary = tensor.data is UNSET
    if is_binary or not leaf.is_uniform:  # otherwise the decoder has checked the bounds
        check_elements(batch, leaf, loaded, "binary data" if is_binary else "data")
    return np.array(batch, leaf.dtype) if is_binary else batch  # aligned, and in this machine's byte order


def _check_shape(tensor: InputTensor, leaf: LeafReader, loaded: LoadedPolicy) -> None:
    shape = tensor.shape
    # Triton has no tensors of shape [batch]: its clients send [batch, 1] instead.
    allowed = (leaf.shape, leaf.shape or (1,))
    if not shape or tuple(shape[1:]) not in allowed or shape[0] < 1:
        found, expected = listed([shown(size) for size in shape[:8]]), listed(["batch", *leaf.shape])
        raise rejected("shape", f"{tensor.name} has shape {found}; {loaded} expects {expected}.")
    if shape[0] > loaded.observations.max_batch_size:
        raise too_many(tensor.name, shape[0], loaded.observations.max_batch_size)


def _elements(
    tensor: InputTensor, raw: memoryview, dtype: np.dtype[Any], decode: Callable[[Raw, int], Any], reason: Reason
) -> NDArray[Any] | None:
    """The elements of a tensor, as many as its shape requires; None if `decode` cannot read its JSON data.

    `decode` gets the data and the depth of its lists. Raises Problem (422).
    """
    size = math.prod(tensor.shape)
    if tensor.data is UNSET:
        expected = size * dtype.itemsize
        if not tensor.binary_size == expected == len(raw):
            found = f"binary_data_size {shown(tensor.binary_size)} and {len(raw)} bytes after the JSON"
            needed = f"shape {listed(tensor.shape)} needs {expected} bytes"
            raise rejected(reason, f"{tensor.name} has {found}; {needed}.")
        return np.frombuffer(raw, dtype.newbyteorder("<"))
    depth = len(tensor.shape) if _NESTED.match(memoryview(tensor.data)) else 1  # flat, or nested like its shape
    try:
        elements = np.array(decode(tensor.data, depth), dtype)
    except (ValueError, RecursionError):  # wrong elements, or ragged lists
        return None
    is_nested = elements.ndim > 1
    if elements.size != size or (is_nested and list(elements.shape) != tensor.shape):
        found = f"shape {listed(elements.shape)}" if is_nested else f"{elements.size} elements"
        raise rejected(reason, f"The data of {tensor.name} has {found}; its shape is {listed(tensor.shape)}.")
    return elements


def _read_mask(tensor: InputTensor, raw: memoryview, shape: list[int], loaded: LoadedPolicy) -> BoolArray:
    """The mask, which must have the shape [batch, n_actions] and allow an action in each row."""
    if tensor.datatype not in {MASK_DATATYPE, "INT8", "UINT8"}:  # Gymnasium's masks are int8
        raise rejected("action_mask", f"{ACTION_MASK} has datatype {shown(tensor.datatype)}; expected {MASK_DATATYPE}.")
    if tensor.shape != shape:
        found = listed([shown(size) for size in tensor.shape[:8]])
        raise rejected(
            "action_mask", f"{ACTION_MASK} has shape {found}; {loaded} expects {listed(shape)} for this batch."
        )
    elements = _elements(tensor, raw, np.dtype(np.uint8), _decode_flags, "action_mask")
    if elements is None:
        found = f"The data of {ACTION_MASK} is not a list of booleans, flat or nested like its shape."
        raise rejected("action_mask", found)
    if (elements > 1).any():
        index = int((elements > 1).argmax())
        raise rejected(
            "action_mask", f"element {index} of the binary {ACTION_MASK} is {elements[index]}; expected 0 or 1."
        )
    mask = elements.astype(np.bool_).reshape(shape)
    is_possible = loaded.action_space.possible(mask)
    if not is_possible.all():
        wrong = int(is_possible.argmin())
        raise all_masked(f"{ACTION_MASK}[{wrong}]", mask[wrong].tolist(), loaded.action_space)
    return mask


def _decode_flags(data: Raw, depth: int) -> Any:
    return _FLAGS[depth](data)


# outputs


def requested_outputs(request: InferRequest, parameters: RequestParameters) -> dict[str, bool]:
    """The names of the outputs to send, and whether each is sent in binary. Raises Problem (422)."""
    names = OUTPUTS[:2] if parameters.epsilon is UNSET else OUTPUTS
    outputs: dict[str, bool] = {}
    for output in request.outputs or ():
        if output.name not in names or output.name in outputs:
            found = "requested twice" if output.name in outputs else "unknown"
            raise rejected("fields", f"Output {shown(output.name)} is {found}; allowed are {', '.join(names)}.")
        options = output.parameters
        if options and (options.classification is not None or options.shared_memory_region is not None):
            raise rejected("fields", f"Output {output.name} needs an extension that this server does not support.")
        is_binary = options.binary_data if options else UNSET
        outputs[output.name] = parameters.binary_data_output if is_binary is UNSET else is_binary
    return outputs or dict.fromkeys(names, parameters.binary_data_output)


def write_output(name: str, values: NDArray[Any], *, is_binary: bool) -> tuple[OutputTensor, bytes]:
    """An output [batch, ...] for the answer's JSON, and the bytes that follow the JSON (empty if not binary)."""
    shape, datatype = list(values.shape), _DATATYPE_OF[values.dtype]
    if not is_binary:
        return OutputTensor(name, shape, datatype, data=values.ravel().tolist()), b""
    raw = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    return OutputTensor(name, shape, datatype, BinarySize(len(raw))), raw
