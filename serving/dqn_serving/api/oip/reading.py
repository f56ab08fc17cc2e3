"""A body of an infer request, read and checked for one policy: all that is left is to run and to answer."""

from time import perf_counter_ns
from typing import NamedTuple

from starlette.types import Scope

from dqn_models.policy import Observations
from dqn_serving.api.oip.compression import inflate
from dqn_serving.api.oip.diagnosis import undecodable
from dqn_serving.api.oip.framing import Headers, collect, split
from dqn_serving.api.oip.messages import InferRequest, RequestParameters, decode_infer_request
from dqn_serving.api.oip.outputs import names_for, requested
from dqn_serving.api.oip.tensors import read_inputs
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.observations import BoolArray

_NO_PARAMETERS = RequestParameters()


class Asked(NamedTuple):
    """What is asked, and how it is to be answered."""

    observations: Observations
    mask: BoolArray | None
    parameters: RequestParameters
    wanted: dict[str, bool]
    """The outputs to send, each with whether in binary."""
    identity: str | None
    headers: Headers
    began: int
    """When its tensors began to be read, and when they were, by `perf_counter_ns`."""
    read: int


def read(body: bytes, loaded: LoadedPolicy, scope: Scope, limit: int) -> Asked:
    """What a body asks of this policy; `limit` is how many bytes it may inflate to. Raises Problem."""
    headers = collect(scope)
    frame = split(inflate(body, headers, limit), headers)
    request = _decode(frame.json)
    began = perf_counter_ns()
    parameters = request.parameters or _NO_PARAMETERS
    observations, mask = read_inputs(request.inputs, frame.binary, loaded)
    wanted = requested(request, parameters, names_for(parameters))
    return Asked(observations, mask, parameters, wanted, request.id, headers, began, perf_counter_ns())


def _decode(data: memoryview) -> InferRequest:
    try:
        request: InferRequest = decode_infer_request(data)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise undecodable(bytes(data), error) from None
    return request
