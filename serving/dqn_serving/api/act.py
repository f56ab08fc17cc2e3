"""The calls that choose actions, as plain ASGI: a framework's routing would cost more than all they do."""

from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET
from starlette.types import Receive, Scope

from dqn_models.layout import CHAMPION
from dqn_serving.api import explain
from dqn_serving.api.schemas import ActRequest, decode_request
from dqn_serving.http.body import BodyReader
from dqn_serving.inference.admission import Admission
from dqn_serving.inference.run import answer_batch
from dqn_serving.inference.singles import Form, act_form, q_values_form, read_single
from dqn_serving.inference.turn import Deliver, Turn
from dqn_serving.policies.loader import VersionSelector
from dqn_serving.policies.observations import DECODE_ERRORS
from dqn_serving.policies.registry import Registry, ServedModel
from dqn_serving.problems import Answer, Problem
from dqn_serving.telemetry.metrics import EndpointMeasures, RequestMeasures

_ALLOW = ((b"allow", b"POST"),)


class Route(NamedTuple):
    """A call that was recognised: which model, and what is to be answered and counted."""

    template: str
    measures: EndpointMeasures
    with_q_values: bool
    form: Form[Answer]
    model: str | None = None


class NativeApi:
    """`POST /act`, `/q-values` and the same below `/models/{model}`."""

    def __init__(
        self,
        registry: Registry,
        selector: VersionSelector,
        requests: RequestMeasures,
        bodies: BodyReader,
        admission: Admission,
    ) -> None:
        self._registry = registry
        self._selector = selector
        self._bodies = bodies
        self._admission = admission
        self._generator = np.random.default_rng()
        self.turn = Turn(self._generator)
        calls = {"act": False, "q-values": True}
        self._default = {f"/{call}": _route(f"/{call}", requests, wants) for call, wants in calls.items()}
        self._named = {call: _route(f"/models/{{model}}/{call}", requests, wants) for call, wants in calls.items()}

    def route(self, path: str) -> Route | None:
        """The route of a path; None where the path is not one of these calls."""
        route = self._default.get(path)
        if route is not None or not path.startswith("/models/"):
            return route
        parts = path.split("/")
        named = self._named.get(parts[3]) if len(parts) == 4 else None
        return named._replace(model=parts[2]) if named else None

    async def respond(self, route: Route, scope: Scope, receive: Receive) -> Answer:
        """The answer to a call. Raises Problem, and DisconnectedError where nobody waits for one."""
        if scope["method"] != "POST":
            raise Problem(405, f"{scope['method'][:20]} is not allowed here; use POST.", headers=_ALLOW)
        served = self._registry.get(route.model)
        try:
            body = await self._bodies.read(scope, receive)
            self._admission.check()
            return await self._answer(route, served, body)
        except Problem as problem:
            if problem.reason is not None:
                served.measures.rejected[problem.reason] += 1
            raise

    def begin(self, route: Route, body: bytes, deliver: Deliver[Answer]) -> bool:
        """Takes a call that needs no waiting and has no fault: `deliver` gets its answer when this turn ends.

        False where there is more to do: `respond` finds out what.
        """
        served = self._registry.models.get((self._registry.default or "") if route.model is None else route.model)
        if served is None:
            return False
        try:
            request: ActRequest = decode_request(body)
            loaded = served.champion
            if request.version is not UNSET:
                loaded = self._selector.at_hand(served, request.version)
            if loaded is None:
                return False
            single = read_single(request, loaded, route.form)
        except (*DECODE_ERRORS, Problem):
            return False
        self.turn.join(loaded, served.measures, single, deliver)
        return True

    async def _answer(self, route: Route, served: ServedModel, body: bytes) -> Answer:
        try:
            request: ActRequest = decode_request(body)
            loaded = served.champion
            if loaded is None or request.version is not UNSET:
                version = CHAMPION if request.version is UNSET else request.version
                loaded = await self._selector.select(served, version)
            if request.observation is UNSET:
                wants = route.with_q_values
                return answer_batch(request, loaded, served.measures, self._generator, with_q_values=wants)
            single = read_single(request, loaded, route.form)
        except DECODE_ERRORS as error:
            raise await self._diagnosed(served, body, error) from None
        return await self.turn.answer(loaded, served.measures, single)

    async def _diagnosed(self, served: ServedModel, body: bytes, error: Exception) -> Problem:
        """What to answer to a body that did not fit: the first fault found."""
        try:
            document = explain.parse(body)
            explain.check_fields(document)
            loaded = await self._selector.select(served, document.get("version", CHAMPION))
            explain.check_observations(document, loaded.observations, str(loaded))
            explain.check_mask(document, loaded.observations, str(loaded))
        except Problem as problem:
            return problem
        found = str(error) if isinstance(error, msgspec.MsgspecError) else type(error).__name__
        return Problem(422, f"The body does not fit: {found}.", reason="type")


def _route(template: str, requests: RequestMeasures, with_q_values: bool) -> Route:  # noqa: FBT001  (private)
    return Route(template, requests.endpoint(template), with_q_values, q_values_form if with_q_values else act_form)
