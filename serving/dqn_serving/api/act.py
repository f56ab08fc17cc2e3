"""The calls that choose actions, `POST /act` and `/q-values`, on the fast path and through Starlette."""

import re
from functools import partial

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
from dqn_serving.inference.batcher import BatchDecision, Decision, Deliver, PendingRequest, wait_for
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.observations import DECODE_ERRORS
from dqn_serving.policies.registry import ServedModel
from dqn_serving.problems import Answer, Problem, from_model_error, make_answer
from dqn_serving.services import Services

_PATH = re.compile(r"(/models/(?P<model>[^/]+))?/(?P<call>act|q-values)")
_EXPECTED = "expected exactly one of observation and observations"  # never sent: `explain` has a better sentence


class ActCall:
    """One of the calls, for the default model or for a named one."""

    def __init__(self, services: Services, call: str, model: str | None = None) -> None:
        """`call` is `act` or `q-values`; without `model` it is the default model's."""
        self._services = services
        self._registry = services.registry
        self._batcher = services.batcher
        self._with_q_values = call == "q-values"
        self.model = model
        self.template = f"/{call}" if model is None else f"/models/{{model}}/{call}"
        self.measures = services.requests.endpoint(self.template)
        self.refusal = overload().answer()

    def begin(self, _scope: Scope, body: bytes, deliver: Deliver) -> bool:
        """Accepts a valid call that can be answered without waiting; `deliver` gets the answer within this turn.

        False otherwise: `respond` then handles it.
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
            self._decide(request, loaded, deliver)
        except (*DECODE_ERRORS, ModelError):
            return False
        return True

    async def respond(self, request: Request) -> Answer:
        """The answer to a call. Raises Problem, ModelError, and ClientDisconnect if the client has gone."""
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
            return await wait_for(partial(self._decide, request, loaded))
        except DECODE_ERRORS as error:
            raise await self._explain(served, body, error) from None

    def _decide(self, request: ActRequest, loaded: LoadedPolicy, deliver: Deliver) -> None:
        """Runs a request, or queues it. Raises ValueError or RecursionError if it does not fit the policy."""
        reader, raw = loaded.observations, request.action_mask
        if request.observation is not UNSET and request.observations is UNSET:
            observation = reader.decode_one(request.observation)
            is_masked = raw is not UNSET or reader.masks.is_used
            mask = reader.masks.one(raw, observation) if is_masked else None
            answer = partial(self._deliver, deliver)
            self._batcher.submit(loaded, PendingRequest(observation, mask, request.epsilon, request.seed, answer))
        elif request.observations is not UNSET and request.observation is UNSET:
            observations = reader.decode_many(request.observations)
            mask = reader.masks.many(raw, observations)
            deliver(self._render_batch(loaded, self._batcher.run_batch(loaded, observations, mask, request)))
        else:
            raise ValueError(_EXPECTED)

    def _deliver(self, deliver: Deliver, loaded: LoadedPolicy, found: Decision | Problem) -> None:
        if isinstance(found, Problem):
            deliver(found.answer())
            return
        is_kept = found.propensity is UNSET and not self._with_q_values
        answer: Answer | None = loaded.greedy_answers.get(found.action_index) if is_kept else None
        if answer is None:
            action = loaded.action(found.action_index)
            document: schemas.ActAnswer | schemas.QValuesAnswer
            document = schemas.ActAnswer(action, *loaded.served, found.propensity)
            if self._with_q_values:
                document = schemas.QValuesAnswer(found.q_values, action, *loaded.served, found.propensity)
            answer = make_answer(encode(document), served=loaded.served)
            if is_kept:
                loaded.greedy_answers.keep(found.action_index, answer)
        deliver(answer)

    def _render_batch(self, loaded: LoadedPolicy, found: BatchDecision | Problem) -> Answer:
        if isinstance(found, Problem):
            return found.answer()
        actions = loaded.action_space.action(found.indices).tolist()
        propensities = UNSET if found.propensities is None else found.propensities.tolist()
        answer: schemas.ActBatchAnswer | schemas.QValuesBatchAnswer
        answer = schemas.ActBatchAnswer(actions, *loaded.served, propensities)
        if self._with_q_values:
            answer = schemas.QValuesBatchAnswer(found.q_values.tolist(), actions, *loaded.served, propensities)
        return make_answer(encode(answer), served=loaded.served)

    async def _explain(self, served: ServedModel, body: bytes, error: Exception) -> Problem:
        """The problem of a body that did not fit: the first fault found."""
        try:
            document = explain.parse(body)
            explain.check_fields(document, ActRequest.__struct_fields__)
            loaded = await self._services.loader.select(served, document.get("version", CHAMPION))
            check_observations(document, loaded.observations, str(loaded))
        except Problem as problem:
            return problem
        except ModelError as unavailable:
            return from_model_error(unavailable)
        return explain.unexplained("body", error)


class ActCalls:
    """`POST /act`, `/q-values` and the same under `/models/{model}`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def find(self, path: str) -> ActCall | None:
        """The call of a path; None if the path is not one of these."""
        found = _PATH.fullmatch(path)
        return ActCall(self._services, found["call"], found["model"]) if found else None

    def routes(self) -> list[CallRoute]:
        """The same calls for the framework, which answers everything that the fast path does not take."""
        calls = [ActCall(self._services, call, model) for model in (None, "") for call in ("act", "q-values")]
        return [CallRoute("POST", call.template, call.respond, act_operation(call.template)) for call in calls]
