"""The infer call: parse a request of the protocol, run the policy as the native calls do, answer.

A request for one observation shares a micro-batch, also with native requests; a larger one runs by itself.
"""

import re
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from typing import Any, NamedTuple

from msgspec import UNSET
from starlette.types import Receive, Scope

from dqn_models.masks import BoolArray
from dqn_models.policy import Observations
from dqn_serving.api.calls import encode
from dqn_serving.api.errors import oip_error
from dqn_serving.api.explain import decode_problem
from dqn_serving.api.oip import tensors
from dqn_serving.api.oip.framing import LENGTH, Headers, collect, deflate, inflate, split
from dqn_serving.api.oip.messages import InferAnswer, InferRequest, RequestParameters, decode_infer_request
from dqn_serving.api.oip.statistics import Durations, Statistics
from dqn_serving.inference.admission import overload
from dqn_serving.inference.batcher import BatchDecision, Decision, Deliver, PendingRequest, wait_for
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.registry import ServedModel
from dqn_serving.problems import Answer, Header, Problem, make_answer
from dqn_serving.services import Services
from dqn_serving.telemetry.metrics import EndpointMeasures

TEMPLATE = "/v2/models/{model}/infer"

_PATH = re.compile(r"/v2/models/(?P<model>[^/]+)/infer")
_NO_PARAMETERS = RequestParameters()


class InferRoute(NamedTuple):
    """An infer call of a champion, for the fast path."""

    measures: EndpointMeasures
    refusal: Answer
    begin: Callable[[Scope, bytes, Deliver], bool]


class ParsedInfer(NamedTuple):
    """A request that fits its policy and only needs to be run and answered."""

    observations: Observations
    """[batch, *observation_shape] in the policy's dtype."""
    mask: BoolArray | None
    """Which actions may be chosen, [batch, n_actions]."""
    parameters: RequestParameters
    outputs: dict[str, bool]
    """The outputs to send, and whether each is sent in binary."""
    request_id: str | None
    headers: Headers
    started_ns: int
    """When reading its tensors began, and when it ended (`parsed_ns`), by `perf_counter_ns`."""
    parsed_ns: int


def parse(body: bytes, loaded: LoadedPolicy, scope: Scope, limit: int) -> ParsedInfer:
    """Parses and checks a body for one policy; `limit` is the number of bytes that it may inflate to.

    Raises Problem (400, 413, 415 or 422).
    """
    headers = collect(scope)
    document, binary = split(inflate(body, headers, limit), headers)
    try:
        request: InferRequest = decode_infer_request(document)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise decode_problem(bytes(document), error) from None
    started = perf_counter_ns()
    parameters = request.parameters or _NO_PARAMETERS
    observations, mask = tensors.read_inputs(request.inputs, binary, loaded)
    outputs = tensors.requested_outputs(request, parameters)
    return ParsedInfer(observations, mask, parameters, outputs, request.id, headers, started, perf_counter_ns())


class InferCall:
    """Answers infer requests."""

    def __init__(self, services: Services) -> None:
        self.statistics = Statistics(services.registry)
        self._models = services.registry.models
        self._loader = services.loader
        self._measures = services.requests.endpoint(TEMPLATE)
        self._refusal = oip_error(overload())
        self._bodies = services.bodies
        self._batcher = services.batcher

    def route(self, path: str) -> InferRoute | None:
        """The route of a path to a champion's infer call; None for any other path."""
        found = _PATH.fullmatch(path)
        return InferRoute(self._measures, self._refusal, partial(self.begin, found["model"])) if found else None

    def begin(self, model: str, scope: Scope, body: bytes, deliver: Deliver) -> bool:
        """Accepts a valid call that can be answered without waiting; `deliver` gets the answer within this turn.

        False otherwise, with nothing run or counted: `respond` then handles it.
        """
        served = self._models.get(model)
        if served is None or served.champion is None:
            return False
        loaded = served.champion
        try:
            parsed = parse(body, loaded, scope, self._bodies.limit)
        except Exception:  # noqa: BLE001  (the slow path raises it again, and reports and logs it)
            return False
        self._decide(parsed, loaded, deliver)
        return True

    async def respond(self, served: ServedModel, version: int | str, scope: Scope, receive: Receive) -> Answer:
        """The answer to a request for a version with this number or alias. Raises Problem and ClientDisconnect."""
        loaded = None
        try:
            body = await self._bodies.read(scope, receive)
            loaded = await self._loader.select(served, version)
            started = perf_counter_ns()
            parsed = parse(body, loaded, scope, self._bodies.limit)
        except Problem as problem:
            if loaded is not None:
                self.statistics.count_failure(loaded, perf_counter_ns() - started)
            if problem.reason is not None:
                served.measures.rejected.add(problem.reason)
            raise
        return await wait_for(partial(self._decide, parsed, loaded))

    def _decide(self, parsed: ParsedInfer, loaded: LoadedPolicy, deliver: Deliver) -> None:
        options = parsed.parameters
        if len(parsed.observations) == 1:
            answer = partial(self._deliver, parsed, deliver)
            pending = PendingRequest(parsed.observations[0], parsed.mask, options.epsilon, options.seed, answer)
            self._batcher.submit(loaded, pending)
        else:
            found = self._batcher.run_batch(loaded, parsed.observations, parsed.mask, options)
            deliver(self._render(parsed, loaded, found))

    def _deliver(self, parsed: ParsedInfer, deliver: Deliver, loaded: LoadedPolicy, found: Decision | Problem) -> None:
        batch = found if isinstance(found, Problem) else found.as_batch()
        deliver(self._render(parsed, loaded, batch))

    def _render(self, parsed: ParsedInfer, loaded: LoadedPolicy, found: BatchDecision | Problem) -> Answer:
        if isinstance(found, Problem):
            self.statistics.count_failure(loaded, perf_counter_ns() - parsed.started_ns)
            return oip_error(found)
        inferred = perf_counter_ns()
        body, content_type, headers = _write(parsed, found, loaded)
        body, encoding = deflate(body, parsed.headers)
        answer = make_answer(body, 200, content_type, (*headers, *encoding), loaded.served)
        parsing, running = parsed.parsed_ns - parsed.started_ns, inferred - parsed.parsed_ns
        durations = Durations(parsing, running, perf_counter_ns() - inferred)
        self.statistics.count_success(loaded, len(parsed.observations), durations)
        return answer


def _write(parsed: ParsedInfer, found: BatchDecision, loaded: LoadedPolicy) -> tuple[bytes, bytes, tuple[Header, ...]]:
    """The body of an answer, its Content-Type, and its other headers."""
    actions = loaded.action_space.action(found.indices)
    values: dict[str, Any] = dict(zip(tensors.OUTPUTS, (found.q_values, actions, found.propensities), strict=True))
    written = [
        tensors.write_output(name, values[name], is_binary=is_binary) for name, is_binary in parsed.outputs.items()
    ]
    answer = InferAnswer(
        model_name=loaded.model,
        model_version=str(loaded.version),
        id=UNSET if parsed.request_id is None else parsed.request_id,
        outputs=[tensor for tensor, _ in written],
    )
    data = encode(answer)
    if not any(parsed.outputs.values()):
        return data, b"application/json", ()
    body = b"".join([data, *(raw for _, raw in written)])
    return body, b"application/octet-stream", ((LENGTH, b"%d" % len(data)),)
