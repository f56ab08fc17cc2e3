"""The outputs of an answer: which are wanted, in which form, and the body that holds them."""

from typing import Any, NamedTuple

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from dqn_serving.api.explain.wording import rejected, shown
from dqn_serving.api.oip.framing import LENGTH
from dqn_serving.api.oip.messages import InferAnswer, InferRequest, RequestParameters, encode
from dqn_serving.api.oip.tensors import write_output
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.problems import Header

_BINARY = b"application/octet-stream"
_JSON = b"application/json"

Q_VALUES, ACTION, PROPENSITY = "q_values", "action", "propensity"
DTYPES = {Q_VALUES: np.float32, ACTION: np.int64, PROPENSITY: np.float64}
_ALWAYS = (Q_VALUES, ACTION)

Outputs = dict[str, NDArray[Any]]


class Body(NamedTuple):
    """An answer's body, and how it is described."""

    data: bytes
    content_type: bytes
    headers: tuple[Header, ...]


def names_for(parameters: RequestParameters) -> tuple[str, ...]:
    """The outputs that there are: `propensity` where actions are drawn."""
    return _ALWAYS if parameters.epsilon is UNSET else (*_ALWAYS, PROPENSITY)


def requested(request: InferRequest, parameters: RequestParameters, names: tuple[str, ...]) -> dict[str, bool]:
    """Which of the outputs to send, each with whether in binary. Raises Problem (422)."""
    wanted: dict[str, bool] = {}
    for output in request.outputs or ():
        if output.name not in names or output.name in wanted:
            found = "a second time" if output.name in wanted else "but there is none"
            raise rejected("fields", f"Output {shown(output.name)} is wanted {found}; allowed are {', '.join(names)}.")
        asked = output.parameters
        if asked and (asked.classification is not None or asked.shared_memory_region is not None):
            raise rejected("fields", f"Output {output.name} is wanted by an extension that this server does not have.")
        is_binary = asked.binary_data if asked else UNSET
        wanted[output.name] = parameters.binary_data_output if is_binary is UNSET else is_binary
    return wanted or dict.fromkeys(names, parameters.binary_data_output)


def write(identity: str | None, wanted: dict[str, bool], outputs: Outputs, loaded: LoadedPolicy) -> Body:
    """The body of an answer: its JSON, and after it the tensors that are wanted in binary."""
    written = [write_output(name, outputs[name], is_binary=is_binary) for name, is_binary in wanted.items()]
    tensors, raws = [tensor for tensor, _ in written], [raw for _, raw in written]
    told = UNSET if identity is None else identity
    answer = InferAnswer(model_name=loaded.model, model_version=str(loaded.version), id=told, outputs=tensors)
    data = encode(answer)
    if not any(wanted.values()):
        return Body(data, _JSON, ())
    return Body(b"".join([data, *raws]), _BINARY, ((LENGTH, b"%d" % len(data)),))
