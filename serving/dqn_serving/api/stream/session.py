"""What a stream means: whom it follows, what its client was told, and what each of its frames is answered."""

from collections.abc import Callable
from functools import partial
from math import isfinite
from time import perf_counter
from typing import Any, NamedTuple

from msgspec import UNSET
from websockets.frames import Opcode

from dqn_serving.api.stream.faults import Fault, FrameId, diagnose, error_message
from dqn_serving.api.stream.handshake import Terms
from dqn_serving.api.stream.messages import (
    Space,
    StreamAction,
    StreamDraining,
    StreamHello,
    StreamRequest,
    StreamVersion,
)
from dqn_serving.api.stream.streams import Streams
from dqn_serving.inference.batcher import Decision, PendingRequest
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.problems import Problem, Served

_MISFITS = (ValueError, RecursionError)  # what the typed decoders raise; msgspec's errors are ValueErrors


class Reply(NamedTuple):
    """An answer as it is sent, and how it is counted."""

    status: int
    started: float
    wire: bytes
    served: Served | None = None


class Session:
    """One client's observations and our actions, in order."""

    def __init__(
        self, streams: Streams, terms: Terms, write: Callable[[bytes], None], go_on: Callable[[], None]
    ) -> None:
        """`write` sends bytes to the client, if it still is there; `go_on` is called when nothing waits any more."""
        self._streams = streams
        self._terms = terms
        self._codec = terms.codec
        self._reader_of = terms.codec.reader_of
        self._served = terms.served
        self._pinned = terms.loaded if terms.is_pinned else None
        self._told = terms.loaded
        self._with_q_values = terms.with_q_values
        self._plain_answers: dict[int, bytes] = {}
        self._write = write
        self._go_on = go_on
        self.waiting = 0
        """How many frames wait for the end of the turn."""
        self.errors = 0
        """How many frames in succession were not answered with an action."""

    def hello(self) -> bytes:
        """The first frame."""
        loaded, is_pinned = self._told, self._pinned is not None
        return self._codec.frame(StreamHello(loaded.model, loaded.version, is_pinned, *_spaces(loaded)))

    def receive(self, frame: bytes, *, is_alone: bool) -> None:
        """Has a frame answered: at once if it `is_alone`, else together with what else arrived in this turn."""
        started = perf_counter()
        loaded = self._pinned or self._served.champion or self._told
        if loaded is not self._told:
            self._tell(loaded)
        try:
            request = self._codec.decode(frame)
            observation = self._reader_of(loaded).decode_one(request.observation)
            is_greedy = request.epsilon is UNSET and request.action_mask is UNSET
            if is_alone and is_greedy and not self.waiting and self._act(request.id, observation, loaded, started):
                return
            single = self._single(request, observation, loaded, started)
        except _MISFITS as error:
            self._refuse(diagnose(frame, self._codec, loaded, error), started)
            return
        self.waiting += 1
        self._streams.batcher.submit(loaded, self._served.measures, single, self._deliver_waiting)

    def _act(self, identity: FrameId, observation: Any, loaded: LoadedPolicy, started: float) -> bool:
        """The shortest way to a greedy action; False where something is out of the ordinary, which the turn meets."""
        begun = perf_counter()
        try:
            q_values, actions = loaded.prepared(observation)
        except Exception:  # noqa: BLE001  (it is met again, told and logged)
            return False
        ended = perf_counter()
        values = q_values.tolist()[0]
        if not isfinite(sum(values)):
            return False
        index = actions.item() - loaded.start
        is_plain = identity is UNSET and not self._with_q_values
        wire = self._plain_answers.get(index) if is_plain else None
        self._write(wire or self._action(identity, loaded, Decision(index, values, UNSET)))
        self.errors = 0
        self._count_lone(loaded, index, ended - begun, perf_counter() - started)
        return True

    def _count_lone(self, loaded: LoadedPolicy, index: int, run_seconds: float, seconds: float) -> None:
        measures = self._served.measures
        measures.inference.observe(run_seconds)
        measures.batch_size.observe(1)
        loaded.action_counts[index] += 1
        self._streams.count(self._terms.route, 200, seconds, self._terms.context, loaded.served)

    def refuse_kind(self) -> None:
        """Answers a text frame where MessagePack was agreed, or a binary one where it was JSON."""
        expected = "text" if self._codec.opcode is Opcode.TEXT else "binary"
        found = "binary" if expected == "text" else "text"
        detail = f"The frame is {found}; this stream speaks {self._codec.encoding} and expects {expected} frames."
        self._refuse(Fault(Problem(415, detail, reason="encoding")), perf_counter())

    def _single(
        self, request: StreamRequest, observation: Any, loaded: LoadedPolicy, started: float
    ) -> PendingRequest[Reply]:
        raw = request.action_mask
        mask = None if raw is UNSET else self._reader_of(loaded).decode_mask(raw)
        form = partial(self._render, request.id, started)
        return PendingRequest(observation, mask, request.epsilon, request.seed, form)

    def _render(self, identity: FrameId, started: float, loaded: LoadedPolicy, found: Decision | Problem) -> Reply:
        if isinstance(found, Problem):
            return self._refusal(Fault(found, identity), started)
        self.errors = 0
        return Reply(200, started, self._action(identity, loaded, found), loaded.served)

    def _action(self, identity: FrameId, loaded: LoadedPolicy, found: Decision) -> bytes:
        is_plain = identity is UNSET and found.propensity is UNSET and not self._with_q_values
        wire = self._plain_answers.get(found.action_index) if is_plain else None
        if wire is None:
            q_values = found.q_values if self._with_q_values else UNSET
            action = found.action_index + loaded.start
            answer = StreamAction(action, loaded.version, identity, found.propensity, q_values)
            wire = self._codec.frame(answer)
            if is_plain:
                self._plain_answers[found.action_index] = wire
        return wire

    def _tell(self, loaded: LoadedPolicy) -> None:
        """Says that another version answers from now on; what came before is answered first."""
        self.answer_waiting()
        self._told, self._plain_answers = loaded, {}
        self._write(self._codec.frame(StreamVersion(loaded.model, loaded.version, *_spaces(loaded))))

    def answer_waiting(self) -> None:
        """Has the frames of this turn answered now, so that nothing overtakes them."""
        if self.waiting:
            self._streams.batcher.flush()

    def _refuse(self, fault: Fault, started: float) -> None:
        """Answers a frame with an error, after all that came before it."""
        self.answer_waiting()
        if fault.problem.reason is not None:
            self._served.measures.rejected.add(fault.problem.reason)
        self._deliver(self._refusal(fault, started))

    def _refusal(self, fault: Fault, started: float) -> Reply:
        self.errors += 1
        return Reply(fault.problem.status, started, self._codec.frame(error_message(fault)))

    def _deliver_waiting(self, reply: Reply) -> None:
        self.waiting -= 1
        self._deliver(reply)
        if not self.waiting:
            self._go_on()

    def _deliver(self, reply: Reply) -> None:
        self._write(reply.wire)
        seconds = perf_counter() - reply.started
        told = (self._terms.route, reply.status, seconds, self._terms.context, reply.served)
        self._streams.count(*told)

    def say_draining(self) -> None:
        """Tells the client that the server is about to end."""
        self._write(self._codec.frame(StreamDraining()))


def _spaces(loaded: LoadedPolicy) -> list[Space]:
    environment = loaded.manifest.environment
    return [space.model_dump(mode="json") for space in (environment.observation_space, environment.action_space)]
