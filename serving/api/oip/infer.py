"""The infer call: from a request of the protocol to its answer, with the native calls' policies, run and choice."""

from time import perf_counter_ns
from typing import Any, NamedTuple

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray
from starlette.types import Receive, Scope

from models.layout import CHAMPION
from serving.api.body import read_body
from serving.api.oip.compression import deflate, inflate
from serving.api.oip.diagnosis import undecodable
from serving.api.oip.framing import LENGTH, Headers, collect, split
from serving.api.oip.messages import InferAnswer, InferRequest, RequestParameters, decode_infer_request, encode
from serving.api.oip.statistics import Durations, Statistics
from serving.api.oip.tensors import read_observations, write_output
from serving.choosing import choose
from serving.diagnosis.wording import rejected, shown
from serving.inference import count_actions, run_policy
from serving.metrics import ModelMeasures
from serving.policies import LoadedPolicy
from serving.problems import Answer, Header, Problem, make_answer
from serving.registry import ServedModel
from serving.selection import VersionSelector

_BINARY = b"application/octet-stream"
_JSON = b"application/json"
_NO_PARAMETERS = RequestParameters()

Outputs = dict[str, NDArray[Any]]


class _Body(NamedTuple):
    """An answer's body, and how it is described."""

    data: bytes
    content_type: bytes
    headers: tuple[Header, ...]


class InferCall:
    """Answers infer requests."""

    def __init__(self, selector: VersionSelector, statistics: Statistics, max_body_bytes: int) -> None:
        self._selector = selector
        self._statistics = statistics
        self._max_body_bytes = max_body_bytes
        self._generator = np.random.default_rng()

    async def respond(self, served: ServedModel, version: int | None, scope: Scope, receive: Receive) -> Answer:
        """The answer to a request for a version, or for the champion. Raises Problem and DisconnectedError."""
        loaded = None
        try:
            body = await read_body(scope, receive, self._max_body_bytes)
            loaded = served.champion if version is None else None
            if loaded is None:
                loaded = await self._selector.select(served, CHAMPION if version is None else version)
            started = perf_counter_ns()
            headers = collect(scope)
            frame = split(inflate(body, headers, self._max_body_bytes), headers)
            return self._answer(_decode(frame.json), frame.binary, loaded, served.measures, headers)
        except Problem as problem:
            if loaded is not None:
                self._statistics.count_failure(loaded, perf_counter_ns() - started)
            if problem.reason is not None:
                served.measures.rejected[problem.reason] += 1
            raise

    def _answer(
        self, request: InferRequest, binary: memoryview, loaded: LoadedPolicy, measures: ModelMeasures, headers: Headers
    ) -> Answer:
        began = perf_counter_ns()
        parameters = request.parameters or _NO_PARAMETERS
        observations = read_observations(request.inputs, binary, loaded)
        read = perf_counter_ns()
        q_values, actions = run_policy(loaded, measures, observations)
        outputs = self._choose(parameters, q_values, actions, loaded)
        inferred = perf_counter_ns()
        body = _write(request, _requested(request, parameters, outputs), outputs, loaded)
        data, encoding = deflate(body.data, headers)
        answer = make_answer(data, content_type=body.content_type, headers=(*body.headers, *encoding))
        count_actions(loaded, outputs["action"] - loaded.start)
        durations = Durations(read - began, inferred - read, perf_counter_ns() - inferred)
        self._statistics.count_success(loaded, len(observations), durations)
        return answer

    def _choose(
        self, parameters: RequestParameters, q_values: NDArray[Any], actions: NDArray[Any], loaded: LoadedPolicy
    ) -> Outputs:
        """The outputs by name; with an epsilon the actions are drawn, and `propensity` says how likely each was."""
        if parameters.epsilon is UNSET:
            return {"q_values": q_values, "action": actions}
        draws_from = self._generator if parameters.seed is UNSET else np.random.default_rng(parameters.seed)
        allowed = np.ones(q_values.shape, np.bool_)
        choice = choose(actions - loaded.start, allowed, parameters.epsilon, draws_from)
        return {"q_values": q_values, "action": choice.indices + loaded.start, "propensity": choice.propensities}


def _decode(data: memoryview) -> InferRequest:
    try:
        request: InferRequest = decode_infer_request(data)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise undecodable(bytes(data), error) from None
    return request


def _requested(request: InferRequest, parameters: RequestParameters, outputs: Outputs) -> dict[str, bool]:
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


def _write(request: InferRequest, wanted: dict[str, bool], outputs: Outputs, loaded: LoadedPolicy) -> _Body:
    written = [write_output(name, outputs[name], is_binary=is_binary) for name, is_binary in wanted.items()]
    tensors, raws = [tensor for tensor, _ in written], [raw for _, raw in written]
    identity = UNSET if request.id is None else request.id
    answer = InferAnswer(model_name=loaded.model, model_version=str(loaded.version), id=identity, outputs=tensors)
    data = encode(answer)
    if not any(wanted.values()):
        return _Body(data, _JSON, ())
    return _Body(b"".join([data, *raws]), _BINARY, ((LENGTH, b"%d" % len(data)),))
