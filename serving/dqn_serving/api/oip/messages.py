"""The protocol's messages: these classes decode, encode and document them.

Unknown fields and parameters are ignored: the protocol lets clients send what only some servers support.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from dqn_serving.api.schemas import FLAGS, NUMBERS_REF, Epsilon, Seed

_ELEMENTS = {"anyOf": [NUMBERS_REF, *FLAGS["anyOf"]]}
_DATA = "The elements in row-major order, flat or nested; absent if `binary_data_size` is given."


class RequestParameters(Struct, frozen=True):
    """Options: `epsilon` and `seed` as in the native calls; `binary_data_output` sends every output in binary."""

    epsilon: Epsilon | UnsetType = UNSET
    seed: Seed | UnsetType = UNSET
    binary_data_output: bool = False


class InputParameters(Struct, frozen=True):
    """Where an input's elements are."""

    binary_data_size: (
        Annotated[
            int, Meta(ge=0, description="Size in bytes of this tensor, which follows the JSON in little-endian order.")
        ]
        | UnsetType
    ) = UNSET


class InputTensor(Struct, frozen=True):
    """A tensor of the request."""

    name: Annotated[
        str,
        Meta(
            description="`observation`, or `observation.NAME` for each of its parts, as in the model's metadata.",
            extra_json_schema={"pattern": r"^(observation(\..+)?|action_mask)$"},
        ),
    ]
    shape: Annotated[list[int], Meta(extra_json_schema={"minItems": 1, "items": {"type": "integer", "minimum": 1}})]
    datatype: Annotated[str, Meta(extra_json_schema={"enum": ["FP32", "FP64", "UINT8", "INT64", "BOOL"]})]
    parameters: InputParameters | None = None
    data: (
        Annotated[Raw, Meta(description=_DATA, extra_json_schema={"type": "array", "items": _ELEMENTS})] | UnsetType
    ) = UNSET

    @property
    def binary_size(self) -> int | UnsetType:
        """Size in bytes of this tensor after the JSON; unset if its data is in the JSON."""
        return self.parameters.binary_data_size if self.parameters else UNSET


_Refused = Annotated[Any, Meta(description="Not supported: rejected if sent.", extra_json_schema={"type": "null"})]


class OutputParameters(Struct, frozen=True):
    """How to send an output; `binary_data` overrides the request's `binary_data_output`."""

    binary_data: bool | UnsetType = UNSET
    classification: _Refused = None
    shared_memory_region: _Refused = None


class RequestedOutput(Struct, frozen=True):
    """A requested output; `propensity` is available if `epsilon` is sent."""

    name: Annotated[str, Meta(extra_json_schema={"enum": ["q_values", "action", "propensity"]})]
    parameters: OutputParameters | None = None


class InferRequest(Struct, frozen=True):
    """Observations to act on. Without `outputs`, all outputs are sent."""

    inputs: Annotated[list[InputTensor], Meta(extra_json_schema={"minItems": 1})]
    id: str | None = None
    parameters: RequestParameters | None = None
    outputs: list[RequestedOutput] | None = None


class BinarySize(Struct, frozen=True):
    """Size in bytes of an output after the JSON."""

    binary_data_size: int


class OutputTensor(Struct, frozen=True):
    """A tensor of the answer: `data` flat in row-major order, or `parameters` if it follows in binary."""

    name: str
    shape: list[int]
    datatype: str
    parameters: BinarySize | UnsetType = UNSET
    data: list[float] | UnsetType = UNSET


class InferAnswer(Struct, frozen=True, kw_only=True):
    """The outputs; `id` is that of the request."""

    model_name: str
    model_version: str
    id: str | UnsetType = UNSET
    outputs: list[OutputTensor]


class IndexRequest(Struct, frozen=True):
    """Which versions to list; an empty body means all."""

    ready: Annotated[bool, Meta(description="Only the versions that are loaded.")] = False


class ErrorAnswer(Struct, frozen=True):
    """Every error: what was sent and what was expected."""

    error: str


class Live(Struct, frozen=True):
    """The process is alive."""

    live: bool = True


class ServerReady(Struct, frozen=True):
    """The server can infer."""

    ready: bool = True


class ModelReady(Struct, frozen=True):
    """The model can infer."""

    name: str
    ready: bool = True


class ServerMetadata(Struct, frozen=True):
    """What the server is and which extensions of the protocol it supports."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Struct, frozen=True):
    """A tensor's name, datatype and shape; -1 is the batch."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Struct, frozen=True):
    """A model's tensors and its published versions."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class IndexEntry(Struct, frozen=True):
    """A published version; READY if it is loaded."""

    name: str
    version: str
    state: str
    reason: str


decode_infer_request = msgspec.json.Decoder(InferRequest).decode
decode_index_request = msgspec.json.Decoder(IndexRequest).decode
