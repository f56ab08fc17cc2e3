"""What PQN learns from: the latest steps of every environment, with Q(lambda) returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dqn_training.checkpoint.captures import Capture, Ring

_RECENT = 10_000


class Rollout(NamedTuple):
    """The transitions of one rollout."""

    observations: NDArray[Any]  # [transitions, *observation_shape]
    actions: NDArray[np.int64]  # [transitions], counted from 0
    td_targets: NDArray[np.float32]  # [transitions]


class Rollouts:
    """A ring of whole rollouts, each `steps` time steps of `num_envs` environments.

    Only the latest is learned from; the others, 10,000 rows or so, tell what observations training saw.
    """

    def __init__(
        self,
        steps: int,
        num_envs: int,
        observation_shape: tuple[int, ...],
        observation_dtype: np.dtype[Any],
        gamma: float,
        q_lambda: float,
    ) -> None:
        """Allocates everything at once."""
        self.steps = steps
        self.time = 0  # time steps written so far
        self._slots = steps * max(1, _RECENT // (steps * num_envs))
        self.observations = np.zeros((self._slots, num_envs, *observation_shape), observation_dtype)
        self._following = np.zeros((num_envs, *observation_shape), observation_dtype)  # after the latest step
        self._actions = np.zeros((self._slots, num_envs), np.int64)
        self._rewards = np.zeros((self._slots, num_envs), np.float32)
        self._terminated = np.zeros((self._slots, num_envs), np.bool_)
        self._truncated = np.zeros((self._slots, num_envs), np.bool_)
        self._real = np.zeros((self._slots, num_envs), np.bool_)  # False where a step only reset, or is not written
        self._resetting = np.zeros(num_envs, np.bool_)  # the last step ended the episode: this one only resets
        self._gamma, self._lambda = gamma, q_lambda

    def __len__(self) -> int:
        """Number of transitions that are remembered."""
        return int(np.count_nonzero(self._real))

    @property
    def memory_bytes(self) -> int:
        """What the arrays take."""
        return sum(getattr(self, name).nbytes for name in (*_ROWS, "_following"))

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
    ) -> None:
        """Adds one time step of every environment, each array [num_envs, ...], as ReplayBuffer.add does."""
        slot = self.time % self._slots
        self.observations[slot] = observations
        self._actions[slot] = actions
        self._rewards[slot] = rewards
        self._terminated[slot] = terminated
        self._truncated[slot] = truncated
        self._real[slot] = ~self._resetting
        self._following[:] = next_observations
        self._resetting = (terminated | truncated) & ~self._resetting
        self.time += 1

    def latest(self, values: Callable[[NDArray[Any]], NDArray[np.float32]]) -> Rollout:
        """The complete rollout with its Q(lambda) returns; `values` gives max_a Q of observations [n, ...] as [n]."""
        last = (self.time - 1) % self._slots + 1
        rollout = slice(last - self.steps, last)
        observations = self.observations[rollout]
        following = np.concatenate([observations[1:], self._following[np.newaxis]])
        next_values = values(following.reshape(-1, *observations.shape[2:])).reshape(self.steps, -1)
        ended = self._terminated[rollout] | self._truncated[rollout]
        returns = lambda_returns(
            self._rewards[rollout], next_values, self._terminated[rollout], ended, self._gamma, self._lambda
        )
        real = self._real[rollout]
        return Rollout(observations[real], self._actions[rollout][real], returns[real])

    def seen(self) -> NDArray[Any]:
        """The latest observations that transitions began with, [transitions, *observation_shape]."""
        return self.observations[self._real]

    def terminal_share(self) -> float:
        """The share of these transitions that terminated their episode; NaN before the first."""
        return float(self._terminated[self._real].mean()) if self._real.any() else float("nan")

    def begin_episodes(self, observations: NDArray[Any]) -> None:
        """Leaves the running episodes unfinished and goes on with these observations [num_envs, ...] of new ones."""
        self._truncated[(self.time - 1) % self._slots] = True
        self._resetting[:] = True
        nothing = np.zeros(len(observations), np.int64)
        never = nothing.astype(np.bool_)
        self.add(self._following.copy(), nothing, nothing, never, never, observations)

    def capture(self) -> Capture:
        """All rows and the cursor; `begin_episodes` may change the latest row."""
        rows = {name: Ring(getattr(self, name), self.time, 1) for name in _ROWS}
        return rows | {name: getattr(self, name) for name in _CURSOR}

    def restore(self, capture: Capture) -> None:
        """Takes over captured rows and the cursor."""
        for name in (*_ROWS, *_CURSOR):
            setattr(self, name, capture[name])


def lambda_returns(
    rewards: NDArray[np.float32],
    next_values: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    ended: NDArray[np.bool_],
    gamma: float,
    q_lambda: float,
) -> NDArray[np.float32]:
    """Q(lambda) returns [steps, num_envs] of arrays of that shape (Peng & Williams, 1996; Gallici et al., 2024).

    G_t = r_t + gamma ((1 - lambda) max_a Q(s_t+1, a) + lambda G_t+1). A terminated step is its reward alone. One that
    was truncated, and the last, bootstrap from the value of the observation that truly followed: that time ran out says
    nothing about what would have come.
    """
    returns = np.empty_like(rewards)
    following = next_values[-1]
    for step in range(len(rewards) - 1, -1, -1):
        mixed = (1 - q_lambda) * next_values[step] + q_lambda * following
        future = np.where(ended[step], next_values[step], mixed)
        following = returns[step] = rewards[step] + gamma * np.where(terminated[step], 0, future)
    return returns


_ROWS = ("observations", "_actions", "_rewards", "_terminated", "_truncated", "_real")
_CURSOR = ("time", "_following", "_resetting")
