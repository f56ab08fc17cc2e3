"""Rollouts for PQN: the latest steps of every environment."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dqn_models.masks import BoolArray
from dqn_training.checkpoint.values import Ring, State, Stateful

_RECENT = 10_000
_RINGS = ("_observations", "_actions", "_rewards", "_terminated", "_truncated", "_alive")


class Rollout(NamedTuple):
    """Some time steps of every environment; arrays are [steps, num_envs, ...]."""

    observations: NDArray[Any]
    actions: NDArray[np.int64]  # indices
    rewards: NDArray[np.float32]
    next_observations: NDArray[Any]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    alive: NDArray[np.bool_]  # False where a step only reset and is not a transition
    next_masks: BoolArray | None  # [steps, num_envs, n_actions], actions allowed in the next observations


class Rollouts(Stateful):
    """A ring of whole rollouts, each `steps` time steps of `num_envs` environments: an Experience.

    Only the latest is used for learning; the others, about 10,000 rows, are a record of the observations in training.
    """

    _state = (*_RINGS, "time", "_following", "_next_masks")

    def __init__(
        self,
        steps: int,
        num_envs: int,
        observation_shape: tuple[int, ...],
        observation_dtype: np.dtype[Any],
        masked_actions: int = 0,
        branches: int = 0,
    ) -> None:
        """Allocates everything at once.

        `masked_actions` is the number of entries of a mask, 0 without masks; `branches` is the number of indices of an
        action that branches, 0 if an action is a single index.
        """
        self.steps = steps
        self.observation_dtype = observation_dtype
        self.time = 0  # time steps written so far
        self._slots = steps * max(1, _RECENT // (steps * num_envs))
        self._observations = np.zeros((self._slots, num_envs, *observation_shape), observation_dtype)
        self._following = np.zeros((num_envs, *observation_shape), observation_dtype)  # after the latest step
        self._actions = np.zeros((self._slots, num_envs, *([branches] if branches else [])), np.int64)
        self._rewards = np.zeros((self._slots, num_envs), np.float32)
        self._terminated = np.zeros((self._slots, num_envs), np.bool_)
        self._truncated = np.zeros((self._slots, num_envs), np.bool_)
        self._next_masks = np.zeros((steps, num_envs, masked_actions), np.bool_)  # of one rollout
        self._alive = np.zeros(
            (self._slots, num_envs), np.bool_
        )  # False where a step only reset, or is not yet written

    def __len__(self) -> int:
        """Number of transitions in the ring."""
        return int(np.count_nonzero(self._alive))

    @property
    def complete(self) -> bool:
        """Whether a rollout has just been filled."""
        return self.time > 0 and self.time % self.steps == 0

    def add(
        self,
        observations: NDArray[Any],
        actions: NDArray[np.int64],
        rewards: NDArray[Any],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        next_observations: NDArray[Any],
        alive: NDArray[np.bool_],
        next_masks: BoolArray | None = None,
    ) -> None:
        """Adds one time step of every environment, each array [num_envs, ...]; where not `alive`, it only reset."""
        slot = self.time % self._slots
        self._observations[slot] = observations
        self._actions[slot] = actions
        self._rewards[slot] = rewards
        self._terminated[slot] = terminated
        self._truncated[slot] = truncated
        self._alive[slot] = alive
        self._following[:] = next_observations
        if next_masks is not None:
            self._next_masks[self.time % self.steps] = next_masks
        self.time += 1

    def latest(self) -> Rollout:
        """The latest complete rollout."""
        last = (self.time - 1) % self._slots + 1
        rollout = slice(last - self.steps, last)
        observations = self._observations[rollout]
        return Rollout(
            observations,
            self._actions[rollout],
            self._rewards[rollout],
            np.concatenate([observations[1:], self._following[np.newaxis]]),
            self._terminated[rollout],
            self._truncated[rollout],
            self._alive[rollout],
            self._next_masks if self._next_masks.size else None,
        )

    def observations(self) -> NDArray[Any]:
        """The latest observations at the start of transitions, [transitions, *observation_shape]."""
        return self._observations[self._alive]

    def terminal_fraction(self) -> float:
        """Fraction of transitions that terminated their episode; NaN without transitions."""
        return float(self._terminated[self._alive].mean()) if self._alive.any() else float("nan")

    def begin_episodes(self, observations: NDArray[Any], masks: BoolArray | None = None) -> None:
        """Abandons the running episodes; new ones start with these observations and masks [num_envs, ...]."""
        self._truncated[(self.time - 1) % self._slots] = True
        nothing, never = np.zeros(len(observations)), np.zeros(len(observations), np.bool_)
        actions = np.zeros_like(self._actions[0])
        self.add(self._following.copy(), actions, nothing, never, never, observations, never, masks)

    def state_dict(self) -> State:
        """All rows and the cursor; `begin_episodes` may change the latest row."""
        return {**super().state_dict(), **{name: Ring(getattr(self, name), self.time, 1) for name in _RINGS}}
