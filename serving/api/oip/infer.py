"""The infer call: from a request of the protocol to its answer, with the native calls' policies, run and choice."""

from collections.abc import Callable
from time import perf_counter_ns
from typing import NamedTuple

import numpy as np
from starlette.types import Receive, Scope

from models.layout import CHAMPION
from models.policy import FloatArray
from serving.admission import Admission
from serving.api.body import BodyReader
from serving.api.oip.compression import deflate, inflate
from serving.api.oip.diagnosis import undecodable
from serving.api.oip.framing import Headers, collect, split
from serving.api.oip.messages import InferRequest, RequestParameters, decode_infer_request
from serving.api.oip.outputs import Outputs, requested, write
from serving.api.oip.statistics import Durations, Statistics
from serving.api.oip.tensors import read_inputs
from serving.choosing import Taken, take
from serving.inference import count_actions, run_policy
from serving.metrics import EndpointMeasures, ModelMeasures, RequestMeasures
from serving.policies import LoadedPolicy
from serving.problems import Answer, Problem, make_answer
from serving.registry import Registry, ServedModel
from serving.selection import VersionSelector

_NO_PARAMETERS = RequestParameters()

TEMPLATE = "/v2/models/{model}/infer"


class InferRoute(NamedTuple):
    """An infer call of a champion: where to count, and the model."""

    template: str
    measures: EndpointMeasures
    model: str


class InferCall:
    """Answers infer requests."""

    def __init__(
        self,
        registry: Registry,
        selector: VersionSelector,
        requests: RequestMeasures,
        bodies: BodyReader,
        admission: Admission,
    ) -> None:
        self.statistics = Statistics(registry)
        self._models = registry.models
        self._selector = selector
        self._measures = requests.endpoint(TEMPLATE)
        self._bodies = bodies
        self._admission = admission
        self._generator = np.random.default_rng()

    def route(self, path: str) -> InferRoute | None:
        """The route of a path to a champion's infer call; None for any other path."""
        parts = path.split("/")
        is_infer = len(parts) == 5 and (parts[1], parts[2], parts[4]) == ("v2", "models", "infer")
        return InferRoute(TEMPLATE, self._measures, parts[3]) if is_infer else None

    def begin(self, route: InferRoute, scope: Scope, body: bytes, deliver: Callable[[Answer], None]) -> bool:
        """Answers a call that needs no waiting and has no fault; False where there is more to do: see `respond`."""
        served = self._models.get(route.model)
        if served is None or served.champion is None:
            return False
        try:
            answer = self._read_and_answer(body, served.champion, served.measures, scope)
        except Exception:  # noqa: BLE001  (it is met again, told and logged on the long way)
            return False
        deliver(answer)
        return True

    async def respond(self, served: ServedModel, version: int | None, scope: Scope, receive: Receive) -> Answer:
        """The answer to a request for a version, or for the champion. Raises Problem and DisconnectedError."""
        loaded = None
        try:
            body = await self._bodies.read(scope, receive)
            self._admission.check()
            loaded = served.champion if version is None else None
            if loaded is None:
                loaded = await self._selector.select(served, CHAMPION if version is None else version)
            started = perf_counter_ns()
            return self._read_and_answer(body, loaded, served.measures, scope)
        except Problem as problem:
            if loaded is not None:
                self.statistics.count_failure(loaded, perf_counter_ns() - started)
            if problem.reason is not None:
                served.measures.rejected[problem.reason] += 1
            raise

    def _read_and_answer(self, body: bytes, loaded: LoadedPolicy, measures: ModelMeasures, scope: Scope) -> Answer:
        headers = collect(scope)
        frame = split(inflate(body, headers, self._bodies.limit), headers)
        return self._answer(_decode(frame.json), frame.binary, loaded, measures, headers)

    def _answer(
        self, request: InferRequest, binary: memoryview, loaded: LoadedPolicy, measures: ModelMeasures, headers: Headers
    ) -> Answer:
        began = perf_counter_ns()
        parameters = request.parameters or _NO_PARAMETERS
        observations, mask = read_inputs(request.inputs, binary, loaded)
        read = perf_counter_ns()
        q_values, actions = run_policy(loaded, measures, observations)
        taken = take(q_values, actions - loaded.start, mask, parameters, self._generator)
        outputs = _outputs(q_values, taken, loaded)
        inferred = perf_counter_ns()
        body = write(request, requested(request, parameters, outputs), outputs, loaded)
        data, encoding = deflate(body.data, headers)
        headers_of_answer = (*body.headers, *encoding)
        answer = make_answer(data, 200, body.content_type, headers_of_answer, loaded.served)
        count_actions(loaded, taken.indices)
        durations = Durations(read - began, inferred - read, perf_counter_ns() - inferred)
        self.statistics.count_success(loaded, len(observations), durations)
        return answer


def _outputs(q_values: FloatArray, taken: Taken, loaded: LoadedPolicy) -> Outputs:
    """The outputs by name; `propensity` where actions were drawn."""
    outputs: Outputs = {"q_values": q_values, "action": taken.indices + loaded.start}
    return outputs if taken.propensities is None else {**outputs, "propensity": taken.propensities}


def _decode(data: memoryview) -> InferRequest:
    try:
        request: InferRequest = decode_infer_request(data)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise undecodable(bytes(data), error) from None
    return request
