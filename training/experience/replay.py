"""Uniform experience replay of n-step transitions, in preallocated arrays.

Rows are written time step by time step, one row for each environment, so that row `i` of step `t` and row `i` of
step `t + k` belong to the same environment: an observation is stored once and serves as the next observation of the
row `k` steps earlier. A row becomes a transition (`ready`) when its n rewards are there or its episode has ended.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Batch(NamedTuple):
    """Transitions as arrays; the target is `returns + discounts * value(next_observations)`."""

    observations: NDArray[Any]  # [batch, *observation_shape]
    actions: NDArray[np.int64]  # [batch], counted from 0
    returns: NDArray[np.float32]  # [batch], sum of gamma^j * reward_j over the k <= n steps to next_observation
    discounts: NDArray[np.float32]  # [batch], gamma^k, or 0 where the episode terminated
    next_observations: NDArray[Any]  # [batch, *observation_shape]


class ReplayBuffer:
    """The last `capacity` rows of `num_envs` environments."""

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        observation_shape: tuple[int, ...],
        observation_dtype: np.dtype[Any],
        n_step: int,
        gamma: float,
    ) -> None:
        """Allocates everything at once; rows that do not fill a time step are left off the capacity."""
        self.num_envs = num_envs
        self.n_step = n_step
        self.time_steps = capacity // num_envs
        rows = self.time_steps * num_envs
        self.observations = np.zeros((rows, *observation_shape), observation_dtype)
        self.actions = np.zeros(rows, np.int64)
        self.returns = np.zeros(rows, np.float32)
        self.discounts = np.zeros(rows, np.float32)
        self.next_rows = np.zeros(rows, np.int64)
        self.ready = np.zeros(rows, np.bool_)
        self.time = 0  # time steps written so far
        self._size = 0
        self._gammas = gamma ** np.arange(n_step + 1)
        self._rewards = np.zeros((n_step, num_envs))  # the last n, at [time % n]
        self._age = np.zeros(num_envs, np.int64)  # steps of the running episode that are not yet transitions
        self._resetting = np.zeros(num_envs, np.bool_)  # the last step ended the episode: this one only resets

    def __len__(self) -> int:
        """Number of transitions that can be sampled."""
        return self._size

    def add(
        self,
        observations: NDArray[Any],
        actions: NDArray[np.int64],
        rewards: NDArray[Any],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        next_observations: NDArray[Any],
    ) -> None:
        """Adds one time step of every environment, each array [num_envs, ...].

        The step that follows an episode's end (Gymnasium's next-step autoreset) is no transition: its action was
        ignored, and its row only holds the last observation of the episode.
        """
        slot = self.time % self.time_steps
        rows = slice(slot * self.num_envs, (slot + 1) * self.num_envs)
        self._size -= int(self.ready[rows].sum())
        self.ready[rows] = False
        self.observations[rows] = observations
        self.actions[rows] = actions
        self._rewards[self.time % self.n_step] = rewards
        # The row after the newest: it must hold the newest next observation until the next step writes it again.
        self._open_next_slot(next_observations)
        self._age = np.where(self._resetting, 0, self._age + 1)
        ended = (terminated | truncated) & ~self._resetting
        full = (self._age == self.n_step) & ~ended
        if full.any():
            self._complete(np.flatnonzero(full), self.n_step, bootstraps=True)
            self._age[full] -= 1
        for environment in np.flatnonzero(ended):
            index = np.array([environment])
            for steps in range(int(self._age[environment]), 0, -1):
                self._complete(index, steps, bootstraps=not terminated[environment])
            self._age[environment] = 0
        self._resetting = ended
        self.time += 1

    def sample(self, batch_size: int, generator: np.random.Generator) -> Batch:
        """A batch of different transitions, all equally likely. Needs `len(self) >= batch_size`."""
        rows = self._draw(batch_size, generator)
        return Batch(
            self.observations[rows],
            self.actions[rows],
            self.returns[rows],
            self.discounts[rows],
            self.observations[self.next_rows[rows]],
        )

    def seen(self) -> NDArray[Any]:
        """The observations of all transitions in the buffer, [transitions, *observation_shape]."""
        return self.observations[self.ready]

    def _open_next_slot(self, next_observations: NDArray[Any]) -> None:
        slot = (self.time + 1) % self.time_steps
        rows = slice(slot * self.num_envs, (slot + 1) * self.num_envs)
        self._size -= int(self.ready[rows].sum())
        self.ready[rows] = False
        self.observations[rows] = next_observations

    def _complete(self, environments: NDArray[np.int64], steps: int, *, bootstraps: bool) -> None:
        """Makes the rows of `steps - 1` time steps ago into transitions that end with the present step."""
        first = self.time - steps + 1
        rows = first % self.time_steps * self.num_envs + environments
        times = np.arange(first, self.time + 1) % self.n_step
        self.returns[rows] = self._gammas[:steps] @ self._rewards[np.ix_(times, environments)]
        self.discounts[rows] = self._gammas[steps] if bootstraps else 0.0
        self.next_rows[rows] = (self.time + 1) % self.time_steps * self.num_envs + environments
        self.ready[rows] = True
        self._size += len(environments)

    def _draw(self, batch_size: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Different ready rows: what is not ready or was drawn before is drawn again."""
        limit = min(self.time + 1, self.time_steps) * self.num_envs
        rows = generator.integers(0, limit, batch_size)
        while True:
            rows.sort()
            wrong = ~self.ready[rows]
            wrong[1:] |= rows[1:] == rows[:-1]
            count = int(wrong.sum())
            if count == 0:
                return rows
            rows[wrong] = generator.integers(0, limit, count)
