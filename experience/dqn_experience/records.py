"""Records: who decided, what was decided, and how the environment responded.

An episode is one run of the controlled system. Its client names it, with 1 to 64 visible ASCII characters, and numbers
its steps. A decision and an outcome belong to a step: the outcome is the reward for that step's action and, at the end,
how the episode ended and the observation that it ended in.
"""

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from dqn_experience.errors import RecordError

MAX_STEP = 2**31 - 1
MAX_ACTIONS = 65_536
UNKNOWN: Final = float("nan")
"""Propensity and epsilon of an action that somebody else chose."""

End = Literal["", "terminated", "truncated"]
_REMEMBERED = 4_096
_EPISODE_ID = re.compile(r"[!-~]{1,64}")
_encode = msgspec.msgpack.Encoder().encode


class Behavior(msgspec.Struct, frozen=True):
    """What chose actions: a version of a model, or, with version 0, somebody else.

    Attributes:
        model: name of the model whose environment this is.
        version: the version that chose, or 0.
        sha256: of its `model.onnx`.
        row: dtype of an observation's row, as `row_of` writes it.
        n_actions: number of Q-values.
        salt: of the draws for exploration and sampling.
        source: who chose if the version is 0, such as "plc".
        branches: number of Q-values of each component if actions branch, else empty. An action is recorded by its
            index, which is a row with an entry for each component if actions branch.
    """

    model: str
    version: int
    sha256: str
    row: dict[str, Any]
    n_actions: int
    salt: str = ""
    source: str = ""
    branches: tuple[int, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of a row, with its shape."""
        return dtype_of(self.row)

    @property
    def space(self) -> tuple[dict[str, Any], int, tuple[int, ...]]:
        """What two behaviors must have in common to be in one dataset."""
        return self.row, self.n_actions, self.branches


class Outcome(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What followed a step's action.

    Attributes:
        episode, step: of the decision.
        reward: for the action, finite.
        end: "terminated" or "truncated" if the episode ended with this step.
        observation: bytes of the row of the final observation, at an end.
        executed: index of the action that was actually executed, if it was a different one.
    """

    episode: str
    step: int
    reward: float
    end: End = ""
    observation: bytes | None = None
    executed: int | list[int] | None = None


class RecordedEpisode(msgspec.Struct, frozen=True, array_like=True):
    """A whole episode from elsewhere, with T steps.

    Attributes:
        episode: its name.
        observations: bytes of T + 1 rows, the last one of which is the final observation.
        actions: T indices.
        rewards: T numbers.
        propensities: T probabilities with which the actions were chosen, or None where nobody knows.
        end: how it ended; "" where it was left before its end.
    """

    episode: str
    observations: bytes
    actions: list[int | list[int]]
    rewards: list[float]
    propensities: list[float] | None = None
    end: End = ""


def row_of(dtype: np.dtype[Any]) -> dict[str, Any]:
    """The dtype of a row, with its shape or its fields, in JSON types."""
    if dtype.fields is None:
        return {"kind": dtype.base.str, "shape": list(dtype.shape)}
    fields = [(name, *dtype.fields[name][:2]) for name in dtype.names or ()]
    names, formats, offsets = zip(*fields, strict=True)
    layout = {"names": list(names), "formats": [row_of(field) for field in formats]}
    return {**layout, "offsets": list(offsets), "itemsize": dtype.itemsize}


def dtype_of(row: dict[str, Any]) -> np.dtype[Any]:
    """The dtype that `row_of` wrote."""
    if "kind" in row:
        return np.dtype((row["kind"], tuple(row["shape"])))
    layout: Any = {**row, "formats": [dtype_of(field) for field in row["formats"]]}
    dtype: np.dtype[Any] = np.dtype(layout)
    return dtype


@lru_cache(_REMEMBERED)
def check_episode_id(episode: str) -> None:
    """Raises RecordError if a text cannot name an episode."""
    if not _EPISODE_ID.fullmatch(episode):
        raise RecordError(f"{episode[:80]!r} cannot name an episode; expected 1 to 64 visible ASCII characters.")


def check_outcome(outcome: Outcome, row_bytes: int | None = None) -> None:
    """Raises RecordError for an invalid outcome; `row_bytes` is the size of a row, if known."""
    check_episode_id(outcome.episode)
    wrong = ""
    if not 0 <= outcome.step <= MAX_STEP:
        wrong = f"the step is not from 0 to {MAX_STEP}"
    elif not math.isfinite(outcome.reward):
        wrong = f"the reward is {outcome.reward}, but must be finite"
    elif not all(0 <= index < MAX_ACTIONS for index in _indices(outcome.executed)):
        wrong = f"the executed action is {outcome.executed}, but must be the index of an action"
    elif outcome.observation is not None and not outcome.end:
        wrong = "it has a final observation, but does not end the episode"
    elif outcome.observation is not None and len(outcome.observation) != (row_bytes or len(outcome.observation)):
        wrong = f"the final observation has {len(outcome.observation)} bytes; expected {row_bytes}"
    if wrong:
        raise RecordError(f"Episode {outcome.episode}, step {outcome.step}: {wrong}.")


def check_recorded(recorded: RecordedEpisode, behavior: Behavior) -> None:
    """Raises RecordError if a whole episode does not fit this behavior's environment."""
    check_episode_id(recorded.episode)
    steps, size = len(recorded.actions), behavior.dtype.itemsize
    propensities = recorded.propensities
    if not steps or len(recorded.rewards) != steps or (propensities is not None and len(propensities) != steps):
        raise RecordError(
            f"Episode {recorded.episode} has {steps} actions and {len(recorded.rewards)} rewards"
            f"{'' if propensities is None else f' and {len(propensities)} propensities'}; expected the same number of "
            "each, and at least one."
        )
    if len(recorded.observations) != size * (steps + 1):
        raise RecordError(
            f"Episode {recorded.episode} has {len(recorded.observations)} bytes of observations; expected "
            f"{size * (steps + 1)}, {steps + 1} rows of {size}."
        )
    limits = list(behavior.branches) or [behavior.n_actions]
    for action in recorded.actions:
        indices = _indices(action)
        inside = [0 <= index < limit for index, limit in zip(indices, limits, strict=False)]
        if len(indices) != len(limits) or isinstance(action, int) == bool(behavior.branches) or not all(inside):
            raise RecordError(f"Episode {recorded.episode} has the action {action}; expected an index below {limits}.")
    if not all(map(math.isfinite, recorded.rewards)):
        raise RecordError(f"Episode {recorded.episode} has a reward that is not finite.")
    if propensities is not None and not all(0.0 < value <= 1.0 for value in propensities):
        raise RecordError(f"Episode {recorded.episode} has a propensity that is not above 0 and at most 1.")


def _indices(action: int | list[int] | None) -> list[int]:
    if action is None:
        return []
    return [action] if isinstance(action, int) else action


def content_of(record: Outcome | RecordedEpisode) -> bytes:
    """The content by which records are compared: two records of a step contradict each other if it differs."""
    if isinstance(record, Outcome):
        values = record.episode, record.step, float(record.reward), record.end, record.observation, record.executed
        return _encode(values)
    return _encode(msgspec.structs.replace(record, rewards=[float(reward) for reward in record.rewards]))


def packed_masks(masks: Sequence[NDArray[np.bool_] | None], n_actions: int) -> NDArray[np.uint8]:
    """Action masks [n, n_actions] as bits, [n, (n_actions + 7) // 8]; None is a mask that allows every action."""
    allowed = np.ones((len(masks), n_actions), np.bool_)
    for row, mask in enumerate(masks):
        if mask is not None:
            allowed[row] = mask
    return np.packbits(allowed, axis=1)


def unpacked_masks(bits: NDArray[np.uint8], n_actions: int) -> NDArray[np.bool_]:
    """The masks of `packed_masks`."""
    return np.unpackbits(bits, axis=1, count=n_actions).astype(np.bool_)
