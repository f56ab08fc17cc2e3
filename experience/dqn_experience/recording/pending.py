"""Records that wait to be written: batches of decisions, packed into runs, and reports."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dqn_experience.errors import RecordError
from dqn_experience.log.database import COLUMNS, MAX_RUN, Run
from dqn_experience.log.outcome_index import Key
from dqn_experience.recording.settings import Counters
from dqn_experience.records import Behavior, Outcome, RecordedEpisode, check_episode_id, packed_masks

PER_DECISION = 96
"""Approximate bytes that a waiting decision takes in memory besides its observation."""
_UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Batch(NamedTuple):
    """Decisions that one behavior made at the same time; sequences have an element for each."""

    behavior: Behavior
    time: int
    passed: float
    """The probability with which the episodes of the batch are recorded."""
    episodes: Sequence[str]
    steps: Sequence[int]
    observations: bytes
    actions: Sequence[int | Sequence[int]]
    propensities: Sequence[float]
    epsilons: Sequence[float]
    masks: NDArray[np.bool_] | None

    @property
    def size(self) -> int:
        """The approximate bytes that it takes in memory."""
        return len(self.observations) + PER_DECISION * len(self.steps)

    def only(self, rows: list[int]) -> "Batch":
        """The decisions in these rows."""
        size = len(self.observations) // max(1, len(self.steps))
        return self._replace(
            episodes=[self.episodes[row] for row in rows],
            steps=[self.steps[row] for row in rows],
            observations=b"".join([self.observations[size * row : size * (row + 1)] for row in rows]),
            actions=[self.actions[row] for row in rows],
            propensities=[self.propensities[row] for row in rows],
            epsilons=[self.epsilons[row] for row in rows],
            masks=None if self.masks is None else self.masks[rows],
        )


class PackedRun(NamedTuple):
    """A run that is ready to be written."""

    behavior: Behavior
    run: Run
    size: int
    """The bytes that its batches took."""


class Report(NamedTuple):
    """Outcomes, or a whole episode, of one call; `durable` is done once they are."""

    model: str
    behavior: Behavior | None
    time: int
    outcomes: list[Outcome]
    recorded: RecordedEpisode | None
    keys: list[Key]
    durable: "Future[None]"

    def only(self, rows: list[int]) -> "Report":
        """The records in these rows."""
        if self.recorded is not None:
            return self
        return self._replace(outcomes=[self.outcomes[row] for row in rows], keys=[self.keys[row] for row in rows])


def pack(batches: list[Batch], counters: Counters) -> list[PackedRun]:
    """The runs of batches: a behavior's decisions in the order of their arrival. Counts and leaves out invalid ones."""
    groups: dict[int, list[Batch]] = {}
    for batch in batches:
        groups.setdefault(id(batch.behavior), []).append(batch)
    packed = []
    for group in groups.values():
        for chunk in _chunks(group):
            try:
                packed.append(_packed(chunk))
            except _UNFIT:
                for batch in chunk:
                    try:
                        packed.append(_packed([batch]))
                    except _UNFIT:
                        counters.dropped["invalid"] += len(batch.steps)
    return packed


def _chunks(batches: list[Batch]) -> Iterator[list[Batch]]:
    chunk: list[Batch] = []
    count = 0
    for batch in batches:
        if chunk and count + len(batch.steps) > MAX_RUN:
            yield chunk
            chunk, count = [], 0
        chunk.append(batch)
        count += len(batch.steps)
    yield chunk


def _packed(batches: list[Batch]) -> PackedRun:
    behavior, first = batches[0].behavior, batches[0].time
    numbers: dict[str, int] = {}
    indices = [numbers.setdefault(episode, len(numbers)) for batch in batches for episode in batch.episodes]
    for episode in numbers:
        check_episode_id(episode)
    lengths = [len(batch.steps) for batch in batches]
    values: dict[str, Any] = {
        "numbers": indices,
        "steps": [step for batch in batches for step in batch.steps],
        "times": np.repeat([max(0, batch.time - first) for batch in batches], lengths),
        "actions": [action for batch in batches for action in batch.actions],
        "propensities": [value for batch in batches for value in batch.propensities],
        "epsilons": [value for batch in batches for value in batch.epsilons],
        "passes": np.repeat([batch.passed for batch in batches], lengths),
    }
    columns = {name: np.array(values[name], dtype) for name, dtype in COLUMNS.items()}
    observations = b"".join([batch.observations for batch in batches])
    count = len(columns["steps"])
    if {len(column) for column in columns.values()} != {count} or len(observations) != count * behavior.dtype.itemsize:
        raise RecordError("The columns of a batch have different lengths.")
    if columns["actions"].shape[1:] != ((len(behavior.branches),) if behavior.branches else ()):
        raise RecordError("The actions of a batch are no indices of their model.")
    run = Run(0, first, list(numbers), columns, _masks(batches, behavior.n_actions), observations)
    return PackedRun(behavior, run, sum(batch.size for batch in batches))


def _masks(batches: list[Batch], n_actions: int) -> NDArray[np.uint8] | None:
    if all(batch.masks is None for batch in batches):
        return None
    rows = [row for batch in batches for row in (batch.masks if batch.masks is not None else [None] * len(batch.steps))]
    return packed_masks(rows, n_actions)


def all_done(futures: "list[Future[None]]") -> "Future[None]":
    """A future that is done when all of these are, and fails when one of them does."""
    if len(futures) == 1:
        return futures[0]
    together: Future[None] = Future()
    waiting = set(futures)
    if not waiting:
        together.set_result(None)

    def settle(done: "Future[None]") -> None:
        waiting.discard(done)
        error = done.exception()
        if together.done():
            return
        if error is not None:
            together.set_exception(error)
        elif not waiting:
            together.set_result(None)

    for future in list(waiting):
        future.add_done_callback(settle)
    return together
