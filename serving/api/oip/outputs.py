"""The outputs of an answer: which are wanted, in which form, and the body that holds them."""

from typing import Any, NamedTuple

from msgspec import UNSET
from numpy.typing import NDArray

from serving.api.oip.framing import LENGTH
from serving.api.oip.messages import InferAnswer, InferRequest, RequestParameters, encode
from serving.api.oip.tensors import write_output
from serving.diagnosis.wording import rejected, shown
from serving.policies import LoadedPolicy
from serving.problems import Header

_BINARY = b"application/octet-stream"
_JSON = b"application/json"

Outputs = dict[str, NDArray[Any]]


class Body(NamedTuple):
    """An answer's body, and how it is described."""

    data: bytes
    content_type: bytes
    headers: tuple[Header, ...]


def requested(request: InferRequest, parameters: RequestParameters, outputs: Outputs) -> dict[str, bool]:
    """The names of the outputs to send, each with whether in binary. Raises Problem (422)."""
    wanted: dict[str, bool] = {}
    for output in request.outputs or ():
        if output.name not in outputs or output.name in wanted:
            found = "a second time" if output.name in wanted else "but there is none"
            raise rejected(
                "fields", f"Output {shown(output.name)} is wanted {found}; allowed are {', '.join(outputs)}."
            )
        asked = output.parameters
        if asked and (asked.classification is not None or asked.shared_memory_region is not None):
            raise rejected("fields", f"Output {output.name} is wanted by an extension that this server does not have.")
        is_binary = asked.binary_data if asked else UNSET
        wanted[output.name] = parameters.binary_data_output if is_binary is UNSET else is_binary
    return wanted or dict.fromkeys(outputs, parameters.binary_data_output)


def write(request: InferRequest, wanted: dict[str, bool], outputs: Outputs, loaded: LoadedPolicy) -> Body:
    """The body of an answer: its JSON, and after it the tensors that are wanted in binary."""
    written = [write_output(name, outputs[name], is_binary=is_binary) for name, is_binary in wanted.items()]
    tensors, raws = [tensor for tensor, _ in written], [raw for _, raw in written]
    identity = UNSET if request.id is None else request.id
    answer = InferAnswer(model_name=loaded.model, model_version=str(loaded.version), id=identity, outputs=tensors)
    data = encode(answer)
    if not any(wanted.values()):
        return Body(data, _JSON, ())
    return Body(b"".join([data, *raws]), _BINARY, ((LENGTH, b"%d" % len(data)),))
