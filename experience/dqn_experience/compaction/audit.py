"""Recomputes propensities: what a version's Q-values, its epsilon and the mask give, against what was recorded."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dqn_experience.datasets import Audit, Part
from dqn_experience.records import Behavior, unpacked_masks

QValues = Callable[[Behavior, NDArray[np.generic]], NDArray[np.float32] | None]
"""Q-values [n, n_actions] of a version for observations [n]; None if there is no version with this `model.onnx`."""

_TOLERANCE = 1e-5
_TIE = 1e-4
"""Relative or absolute: the order of Q-values this close may depend on the size of the batch that computed them."""
_BATCH = 1_024


class Auditor:
    """Audits the parts of a dataset of one model."""

    def __init__(self, behaviors: Sequence[Behavior], n_actions: int, q_values: QValues) -> None:
        """`q_values` recomputes the Q-values of the versions among `behaviors`."""
        self._behaviors = {behavior.version: behavior for behavior in behaviors}
        self._n_actions, self._q_values = n_actions, q_values
        self._checked = self._wrong = self._ties = self._skipped = 0

    @property
    def result(self) -> Audit:
        """The findings so far."""
        return Audit(self._checked, self._wrong, self._ties, self._skipped)

    def audit(self, part: Part) -> NDArray[np.uint32]:
        """How many propensities of each episode are wrong, [E]."""
        episode = np.repeat(np.arange(len(part["names"])), np.diff(part["offsets"]))
        observed = part["observations"][np.arange(len(episode)) + episode]  # without final ones
        masks = unpacked_masks(part["masks"], self._n_actions) if "masks" in part else None
        wrong = np.zeros(len(episode), np.bool_)
        known = (part["versions"] > 0) & np.isfinite(part["epsilons"])
        self._skipped += int((~known).sum())
        for version in np.unique(part["versions"][known]).tolist():
            rows = np.flatnonzero(known & (part["versions"] == version))
            for batch in np.split(rows, np.arange(_BATCH, len(rows), _BATCH)):
                values = self._q_values(self._behaviors[version], observed[batch])
                if values is None:
                    self._skipped += len(batch)
                    continue
                allowed = np.ones(values.shape, np.bool_) if masks is None else masks[batch]
                wrong[batch] = self._compare(part, batch, version, np.where(allowed, values, -np.inf), allowed)
        counts: NDArray[np.uint32] = np.bincount(episode, wrong, len(part["names"])).astype(np.uint32)
        return counts

    def _compare(
        self,
        part: Part,
        batch: NDArray[np.int64],
        version: int,
        values: NDArray[np.floating],
        allowed: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        epsilons = part["epsilons"][batch].astype(np.float64)
        found = [
            _compared(
                values[:, columns], allowed[:, columns], part["actions"][batch].reshape(len(batch), -1)[:, number]
            )
            for number, columns in enumerate(_columns(self._behaviors[version].branches, self._n_actions))
        ]
        inside, is_greedy = (
            np.logical_and.reduce([getattr(each, name) for each in found]) for name in _Choice._fields[:2]
        )
        exploring = epsilons / np.prod([each.allowed for each in found], axis=0)
        recorded = part["propensities"][batch]
        as_greedy = np.abs(recorded - (exploring + 1.0 - epsilons)) <= _TOLERANCE
        as_other = np.abs(recorded - exploring) <= _TOLERANCE
        overtaken = np.logical_or.reduce([each.runner_up_is_near for each in found])
        overtaking = np.logical_and.reduce([each.is_near for each in found])
        close = np.where(is_greedy, overtaken, overtaking)
        right = np.where(is_greedy, as_greedy, as_other) & inside
        tie = ~right & close & inside & (as_greedy | as_other)
        self._checked += len(batch)
        self._ties += int(tie.sum())
        self._wrong += int((~right & ~tie).sum())
        wrong: NDArray[np.bool_] = ~right & ~tie
        return wrong


class _Choice(NamedTuple):
    """An action, or a component of it, among those that were allowed; arrays have an element for each decision."""

    inside: NDArray[np.bool_]
    is_greedy: NDArray[np.bool_]
    allowed: NDArray[np.int64]
    """How many."""
    is_near: NDArray[np.bool_]
    """Its Q-value is the highest or nearly so."""
    runner_up_is_near: NDArray[np.bool_]


def _columns(branches: tuple[int, ...], n_actions: int) -> list[slice]:
    """The columns of Q-values of each component, or of all actions."""
    ends = np.cumsum(branches or (n_actions,)).tolist()
    return [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]


def _compared(values: NDArray[np.floating], allowed: NDArray[np.bool_], actions: NDArray[np.int32]) -> _Choice:
    inside = actions < values.shape[1]
    chosen, rows = np.where(inside, actions, 0), np.arange(len(actions))
    best = values.max(axis=1)
    runner_up = np.partition(values, -2, axis=1)[:, -2] if values.shape[1] > 1 else np.full(len(actions), -np.inf)
    near = _TIE * np.maximum(1.0, np.abs(best))
    return _Choice(
        inside & allowed[rows, chosen],
        values.argmax(axis=1) == chosen,
        allowed.sum(axis=1),
        best - values[rows, chosen] <= near,
        best - runner_up <= near,
    )
