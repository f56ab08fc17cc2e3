"""Recomputes propensities: what a version's Q-values, its epsilon and the mask give, against what was recorded."""

from collections.abc import Callable, Sequence

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
                wrong[batch] = self._compare(part, batch, np.where(allowed, values, -np.inf), allowed)
        counts: NDArray[np.uint32] = np.bincount(episode, wrong, len(part["names"])).astype(np.uint32)
        return counts

    def _compare(
        self, part: Part, batch: NDArray[np.int64], values: NDArray[np.floating], allowed: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        actions, epsilons = part["actions"][batch], part["epsilons"][batch].astype(np.float64)
        inside = actions < values.shape[1]
        chosen = np.where(inside, actions, 0)
        rows = np.arange(len(batch))
        best = values.max(axis=1)
        gap = best - values[rows, chosen]
        exploring = epsilons / allowed.sum(axis=1)
        recorded = part["propensities"][batch]
        as_greedy = np.abs(recorded - (exploring + 1.0 - epsilons)) <= _TOLERANCE
        as_other = np.abs(recorded - exploring) <= _TOLERANCE
        is_greedy = values.argmax(axis=1) == chosen
        runner_up = np.partition(values, -2, axis=1)[:, -2] if values.shape[1] > 1 else np.full(len(batch), -np.inf)
        near = _TIE * np.maximum(1.0, np.abs(best))
        close = np.where(is_greedy, best - runner_up <= near, gap <= near)
        right = np.where(is_greedy, as_greedy, as_other) & inside & allowed[rows, chosen]
        tie = ~right & close & inside & allowed[rows, chosen] & (as_greedy | as_other)
        self._checked += len(batch)
        self._ties += int(tie.sum())
        self._wrong += int((~right & ~tie).sum())
        wrong: NDArray[np.bool_] = ~right & ~tie
        return wrong
