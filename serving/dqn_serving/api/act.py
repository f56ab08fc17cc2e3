"""The calls that choose actions, `POST /act` and `/q-values`: on the fast path and by Starlette."""

from msgspec import UNSET
from starlette.requests import Request
from starlette.types import Scope

from dqn_models.errors import ModelError
from dqn_models.layout import CHAMPION
from dqn_serving.api import explain, schemas
from dqn_serving.api.calls import CallRoute, encode
from dqn_serving.api.explain_observations import check_observations
from dqn_serving.api.openapi import act_operation
from dqn_serving.api.schemas import ActRequest, decode_request
from dqn_serving.inference.admission import overload
from dqn_serving.inference.batcher import Decision, Deliver, PendingRequest, Renderer
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.observations import DECODE_ERRORS
from dqn_serving.policies.registry import ServedModel
from dqn_serving.problems import Answer, Problem, from_model_error, make_answer
from dqn_serving.services import Services
from dqn_serving.telemetry.metrics import ModelMeasures

_CALLS = ("act", "q-values")
_EXPECTED = "expected exactly one of observation and observations"  # never sent: the diagnosis says it better


class ActCall:
    """One of the calls, for the default model or for a named one."""

    def __init__(self, services: Services, call: str, model: str | None = None) -> None:
        """`call` is `act` or `q-values`; without a `model` the default one is meant."""
        self._services = services
        self._registry = services.registry
        self._batcher = services.batcher
        self._with_q_values = call == "q-values"
        self._render: Renderer[Answer] = _render_q_values if self._with_q_values else _render_act
        self.model = model
        self.template = f"/{call}" if model is None else f"/models/{{model}}/{call}"
        self.measures = services.requests.endpoint(self.template)
        self.refusal = overload().answer()

    def begin(self, _scope: Scope, body: bytes, deliver: Deliver[Answer]) -> bool:
        """Takes a call that needs no waiting and has no fault: `deliver` gets its answer, at the latest in this turn.

        False where there is more to do: `respond` finds out what.
        """
        served = self._registry.models.get((self._registry.default or "") if self.model is None else self.model)
        if served is None:
            return False
        try:
            request: ActRequest = decode_request(body)
            loaded = served.champion
            if request.version is not UNSET:
                loaded = self._services.loader.get_loaded(served, request.version)
            if loaded is None:
                return False
            if request.observation is UNSET:
                deliver(self._decide_batch(request, loaded, served.measures))
            else:
                self._batcher.submit(loaded, served.measures, self._pending(request, loaded), deliver)
        except (*DECODE_ERRORS, ModelError):
            return False
        return True

    async def respond(self, request: Request) -> Answer:
        """The answer to a call. Raises Problem, ModelError, and ClientDisconnect where nobody waits for one."""
        served = self._registry.get(request.path_params.get("model"))
        try:
            body = await self._services.bodies.read_json(request.scope, request.receive)
            return await self._answer(served, body)
        except Problem as problem:
            if problem.reason is not None:
                served.measures.rejected.add(problem.reason)
            raise

    async def _answer(self, served: ServedModel, body: bytes) -> Answer:
        try:
            request: ActRequest = decode_request(body)
            version = CHAMPION if request.version is UNSET else request.version
            loaded = await self._services.loader.select(served, version)
            if request.observation is UNSET:
                return self._decide_batch(request, loaded, served.measures)
            pending = self._pending(request, loaded)
        except DECODE_ERRORS as error:
            raise await self._explain(served, body, error) from None
        return await self._batcher.answer(loaded, served.measures, pending)

    def _pending(self, request: ActRequest, loaded: LoadedPolicy) -> PendingRequest[Answer]:
        if request.observation is UNSET or request.observations is not UNSET:
            raise ValueError(_EXPECTED)
        observation = loaded.observations.decode_one(request.observation)
        mask = None if request.action_mask is UNSET else loaded.observations.decode_mask(request.action_mask)
        return PendingRequest(observation, mask, request.epsilon, request.seed, self._render)

    def _decide_batch(self, request: ActRequest, loaded: LoadedPolicy, measures: ModelMeasures) -> Answer:
        if request.observations is UNSET:
            raise ValueError(_EXPECTED)
        observations = loaded.observations.decode_many(request.observations)
        raw = request.action_mask
        mask = None if raw is UNSET else loaded.observations.decode_masks(raw, len(observations))
        found = self._batcher.run_batch(loaded, measures, observations, mask, request)
        if isinstance(found, Problem):
            return found.answer()
        actions = (found.indices + loaded.start).tolist()
        propensities = UNSET if found.propensities is None else found.propensities.tolist()
        answer: schemas.ActBatchAnswer | schemas.QValuesBatchAnswer
        if self._with_q_values:
            answer = schemas.QValuesBatchAnswer(found.q_values.tolist(), actions, *loaded.served, propensities)
        else:
            answer = schemas.ActBatchAnswer(actions, *loaded.served, propensities)
        return make_answer(encode(answer), served=loaded.served)

    async def _explain(self, served: ServedModel, body: bytes, error: Exception) -> Problem:
        """What to answer to a body that did not fit: the first fault found."""
        try:
            document = explain.parse(body)
            explain.check_fields(document)
            loaded = await self._services.loader.select(served, document.get("version", CHAMPION))
            check_observations(document, loaded.observations, str(loaded))
        except Problem as problem:
            return problem
        except ModelError as unavailable:
            return from_model_error(unavailable)
        return explain.unexplained("body", error)


class ActCalls:
    """`POST /act`, `/q-values` and the same below `/models/{model}`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._default = {f"/{call}": ActCall(services, call) for call in _CALLS}

    def find(self, path: str) -> ActCall | None:
        """The call of a path; None where the path is not one of these."""
        call = self._default.get(path)
        if call is not None or not path.startswith("/models/"):
            return call
        parts = path.split("/")
        is_named = len(parts) == 4 and parts[2] and parts[3] in _CALLS
        return ActCall(self._services, parts[3], parts[2]) if is_named else None

    def routes(self) -> list[CallRoute]:
        """The same calls for the framework, which answers all that the fast path does not take."""
        named = [ActCall(self._services, call, "") for call in _CALLS]
        calls = [*self._default.values(), *named]
        return [CallRoute("POST", call.template, call.respond, act_operation(call.template)) for call in calls]


def _render_act(loaded: LoadedPolicy, found: Decision | Problem) -> Answer:
    if isinstance(found, Problem):
        return found.answer()
    is_greedy = found.propensity is UNSET
    answer: Answer | None = loaded.greedy_answers.get(found.action_index) if is_greedy else None
    if answer is None:
        document = schemas.ActAnswer(found.action_index + loaded.start, *loaded.served, found.propensity)
        answer = make_answer(encode(document), served=loaded.served)
        if is_greedy:
            loaded.greedy_answers[found.action_index] = answer
    return answer


def _render_q_values(loaded: LoadedPolicy, found: Decision | Problem) -> Answer:
    if isinstance(found, Problem):
        return found.answer()
    document = schemas.QValuesAnswer(
        found.q_values, found.action_index + loaded.start, *loaded.served, found.propensity
    )
    return make_answer(encode(document), served=loaded.served)
