"""A stream's session: which version answers, which one the client knows of, and the answer to each frame."""

from collections.abc import Callable
from functools import partial
from math import isfinite
from time import perf_counter
from typing import Any

from msgspec import UNSET
from websockets.frames import Opcode

from dqn_serving.api.stream import frames
from dqn_serving.api.stream.frames import FrameError, FrameId
from dqn_serving.api.stream.handshake import NegotiatedStream
from dqn_serving.inference.batcher import Decision, MicroBatcher, PendingRequest
from dqn_serving.policies.loaded import Index, LoadedPolicy, as_index
from dqn_serving.policies.observations import DECODE_ERRORS
from dqn_serving.problems import Problem, Served

Count = Callable[[int, float, Served | None], None]
"""Takes the status, when the frame or the handshake arrived (by `perf_counter`), and the version that answered."""


class Session:
    """One client's observations and our actions, in order."""

    def __init__(
        self, batcher: MicroBatcher, negotiated: NegotiatedStream, write: Callable[[bytes], None], count: Count
    ) -> None:
        """`write` sends bytes to the client, if it is still connected; `count` counts an answered frame."""
        self._batcher = batcher
        self._count = count
        self._codec = negotiated.codec
        self._reader_of = negotiated.codec.reader_of
        self._served = negotiated.served
        self._pinned = negotiated.loaded if negotiated.is_pinned else None
        self._announced = negotiated.loaded
        self._with_q_values = negotiated.with_q_values
        self._plain_answers: dict[Index, bytes] = {}
        self._write = write
        self.waiting = 0
        """Number of frames that wait to be run."""
        self.errors = 0
        """Number of consecutive frames that were not answered with an action."""

    def hello(self) -> bytes:
        """The first frame."""
        loaded, is_pinned = self._announced, self._pinned is not None
        return self._codec.frame(frames.StreamHello(loaded.model, loaded.version, is_pinned, *_spaces(loaded)))

    def receive(self, frame: bytes, *, run_immediately: bool) -> None:
        """Answers a frame: immediately if `run_immediately` and possible, else along with the others of this turn."""
        started = perf_counter()
        loaded = self._pinned or self._served.champion or self._announced
        if loaded is not self._announced:
            self._announce(loaded)
        try:
            request = self._codec.decode(frame)
            reader = self._reader_of(loaded)
            observation = reader.decode_one(request.observation)
            is_greedy = request.epsilon is UNSET and request.action_mask is UNSET and not reader.masks.is_used
            can_run = run_immediately and is_greedy and not self.waiting
            if can_run and self._act_immediately(request.id, observation, loaded, started):
                return
            mask = reader.masks.one(request.action_mask, observation)
            deliver = partial(self._deliver, request.id, started)
            pending = PendingRequest(observation, mask, request.epsilon, request.seed, deliver)
        except DECODE_ERRORS as error:
            self._refuse(frames.explain_frame(frame, self._codec, loaded, error), started)
            return
        self.waiting += 1
        self._batcher.submit(loaded, pending)

    def _act_immediately(self, frame_id: FrameId, observation: Any, loaded: LoadedPolicy, started: float) -> bool:
        """The fast path to a greedy action; False if anything is unusual: the batcher then handles it."""
        begun = perf_counter()
        try:
            q_values, _ = loaded.prepared(observation)
        except Exception:  # noqa: BLE001  (the batcher raises it again, and reports and logs it)
            return False
        ended = perf_counter()
        values = q_values.tolist()[0]
        if not isfinite(sum(values)):
            return False
        index: Any = as_index(loaded.action_space.best(q_values)[0]) if loaded.branches else int(q_values.argmax())
        is_plain = frame_id is UNSET and not self._with_q_values
        wire = self._plain_answers.get(index) if is_plain else None
        self._write(wire or self._action_frame(frame_id, loaded, Decision(index, values, UNSET)))
        self.errors = 0
        loaded.measures.inference.observe(ended - begun)
        loaded.measures.batch_size.observe(1)
        if loaded.branches:
            loaded.count_branches(index)
        else:
            loaded.action_counts[index] += 1
        self._count(200, started, loaded.served)
        return True

    def refuse_kind(self) -> None:
        """Refuses a text frame if MessagePack was negotiated, or a binary one if it was JSON."""
        expected = "text" if self._codec.opcode is Opcode.TEXT else "binary"
        found = "binary" if expected == "text" else "text"
        detail = f"The frame is {found}; this stream uses {self._codec.encoding} and expects {expected} frames."
        self._refuse(FrameError(Problem(415, detail, reason="encoding")), perf_counter())

    def _deliver(self, frame_id: FrameId, started: float, loaded: LoadedPolicy, found: Decision | Problem) -> None:
        self.waiting -= 1
        if isinstance(found, Problem):
            self._send_error(FrameError(found, frame_id), started)
        else:
            self.errors = 0
            self._write(self._action_frame(frame_id, loaded, found))
            self._count(200, started, loaded.served)

    def _action_frame(self, frame_id: FrameId, loaded: LoadedPolicy, found: Decision) -> bytes:
        is_plain = frame_id is UNSET and found.propensity is UNSET and not self._with_q_values
        wire = self._plain_answers.get(found.action_index) if is_plain else None
        if wire is None:
            q_values = found.q_values if self._with_q_values else UNSET
            action = loaded.action(found.action_index)
            answer = frames.StreamAction(action, loaded.version, frame_id, found.propensity, q_values)
            wire = self._codec.frame(answer)
            if is_plain and not loaded.branches:  # there may be very many of those, for each client
                self._plain_answers[found.action_index] = wire
        return wire

    def _announce(self, loaded: LoadedPolicy) -> None:
        """Announces that another version answers from now on, after answering all earlier frames."""
        self.answer_waiting()
        self._announced, self._plain_answers = loaded, {}
        self._write(self._codec.frame(frames.StreamVersion(loaded.model, loaded.version, *_spaces(loaded))))

    def answer_waiting(self) -> None:
        """Answers all waiting frames, so that nothing overtakes them."""
        if self.waiting:
            self._batcher.flush()

    def _refuse(self, error: FrameError, started: float) -> None:
        """Answers a frame with an error, after all earlier frames."""
        self.answer_waiting()
        if error.problem.reason is not None:
            self._served.measures.rejected.add(error.problem.reason)
        self._send_error(error, started)

    def _send_error(self, error: FrameError, started: float) -> None:
        self.errors += 1
        self._write(self._codec.frame(error.message()))
        self._count(error.problem.status, started, None)

    def announce_draining(self) -> None:
        """Announces to the client that the server is about to stop."""
        self._write(self._codec.frame(frames.StreamDraining()))


def _spaces(loaded: LoadedPolicy) -> list[frames.Space]:
    environment = loaded.manifest.environment
    return [space.model_dump(mode="json") for space in (environment.observation_space, environment.action_space)]
