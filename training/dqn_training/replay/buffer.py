"""Experience replay of n-step transitions, in preallocated arrays.

Rows are written time step by time step, one row for each environment, so that row `i` of step `t` and row `i` of
step `t + k` belong to the same environment: an observation is stored once and serves as the next observation of the
row `k` steps earlier. A row becomes a transition when its n rewards are there or its episode has ended. What came of it
is one small number, its *outcome*: 0 for a row that is no transition (yet), k for one that bootstraps after k steps,
n + k for one whose episode terminated with the k-th. Next row and discount follow from it.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dqn_training.checkpoint.captures import Capture, Ring
from dqn_training.replay.sum_tree import Priorities


class Batch(NamedTuple):
    """Transitions as arrays; the target is `returns + discounts * value(next_observations)`."""

    observations: NDArray[Any]  # [batch, *observation_shape]
    actions: NDArray[np.int64]  # [batch], counted from 0
    returns: NDArray[np.float32]  # [batch], sum of gamma^j * reward_j over the k <= n steps to next_observation
    discounts: NDArray[np.float32]  # [batch], gamma^k, or 0 where the episode terminated
    next_observations: NDArray[Any]  # [batch, *observation_shape]
    rows: NDArray[np.int64]  # [batch], where they are in the buffer until the next `add`
    weights: NDArray[np.float32] | None = None  # [batch], of their losses, where they were drawn by priority


class ReplayBuffer:
    """The last `capacity` rows of `num_envs` environments."""

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        observation_shape: tuple[int, ...],
        observation_dtype: np.dtype[Any],
        n_actions: int,
        n_step: int,
        gamma: float,
        priority_exponent: float | None = None,
    ) -> None:
        """Allocates everything at once; rows that do not fill a time step are left off the capacity.

        With `priority_exponent` transitions have priorities and are drawn by them.

        The operating system hands out the memory as it is written: see `memory_bytes`.
        """
        self.num_envs = num_envs
        self.n_step = n_step
        self.time_steps = capacity // num_envs
        rows = self.time_steps * num_envs
        self.observations = np.zeros((rows, *observation_shape), observation_dtype)
        self.actions = np.zeros(rows, np.min_scalar_type(n_actions - 1))
        self.returns = np.zeros(rows, np.float32)
        self.outcomes = np.zeros(rows, np.min_scalar_type(2 * n_step))
        self.priorities = None if priority_exponent is None else Priorities(rows, priority_exponent)
        self.time = 0  # time steps written so far
        self._size = 0
        self._gammas = gamma ** np.arange(n_step + 1)
        # By outcome: how many rows further the next observation is, and what its value counts.
        steps = np.arange(1, n_step + 1)
        self._distances = np.concatenate([[0], steps, steps]) * num_envs
        self._discounts = np.concatenate([[0], self._gammas[1:], np.zeros(n_step)]).astype(np.float32)
        self._recent_rewards = np.zeros((n_step, num_envs))  # the last n, the newest last
        self._age = np.zeros(num_envs, np.int64)  # steps of the running episode that are not yet transitions
        self._resetting = np.zeros(num_envs, np.bool_)  # the last step ended the episode: this one only resets

    def __len__(self) -> int:
        """Number of transitions that can be sampled."""
        return self._size

    @property
    def memory_bytes(self) -> int:
        """What the arrays take once all rows are written: for each the observation's bytes and a few more (6 for up to
        256 actions and 127 steps), and 8.5 with priorities.
        """
        arrays = (self.observations, self.actions, self.returns, self.outcomes)
        return sum(array.nbytes for array in arrays) + (self.priorities.nbytes if self.priorities else 0)

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
        rows, next_rows = self._slot(self.time), self._slot(self.time + 1)
        self.observations[rows] = observations
        self.actions[rows] = actions
        self._recent_rewards[:-1] = self._recent_rewards[1:]
        self._recent_rewards[-1] = rewards
        # The rows of the next step hold the newest next observations until that step writes them again.
        self._size -= int(np.count_nonzero(self.outcomes[next_rows]))
        self.outcomes[next_rows] = 0
        self.observations[next_rows] = next_observations
        self._age += 1
        self._age[self._resetting] = 0
        ended = (terminated | truncated) & ~self._resetting
        full = ((self._age == self.n_step) & ~ended).nonzero()[0]
        completed = []
        if len(full):
            completed.append(self._complete(full, self.n_step, self.n_step))
            self._age[full] -= 1
        for environment in ended.nonzero()[0]:
            completed += self._end_episode(environment, terminated=bool(terminated[environment]))
        if self.priorities:
            self.priorities.replace(np.r_[next_rows], np.concatenate(completed or [_NO_ROWS]))
        self._resetting = ended
        self.time += 1

    def sample(self, batch_size: int, generator: np.random.Generator, importance_exponent: float = 0.0) -> Batch:
        """A batch of transitions. Needs `len(self) >= batch_size`.

        All are different and equally likely; or, with priorities, drawn by these, with weights that undo it as far as
        the exponent says.
        """
        if self.priorities:
            rows, weights = self.priorities.draw(batch_size, importance_exponent, generator)
        else:
            rows, weights = self._draw(batch_size, generator), None
        outcomes = self.outcomes.take(rows)
        next_rows = rows + self._distances.take(outcomes)
        return Batch(
            self.observations.take(rows, axis=0),
            self.actions.take(rows).astype(np.int64),
            self.returns.take(rows),
            self._discounts.take(outcomes),
            self.observations.take(next_rows, axis=0, mode="wrap"),
            rows,
            weights,
        )

    def seen(self, most_bytes: int = 2**26) -> NDArray[Any]:
        """Observations of the transitions in the buffer, [count, *observation_shape]; where all would take more than
        `most_bytes`, an even sample.
        """
        rows = np.flatnonzero(self.outcomes > 0)
        sampled_every = -(-len(rows) * self.observations[:1].nbytes // most_bytes)
        return self.observations[rows[:: max(1, sampled_every)]]

    def terminal_share(self) -> float:
        """The share of transitions whose episode terminated within them; NaN before the first."""
        return int((self.outcomes > self.n_step).sum()) / self._size if self._size else float("nan")

    def begin_episodes(self, observations: NDArray[Any]) -> None:
        """Leaves the running episodes unfinished and goes on with these observations [num_envs, ...] of new ones."""
        self._resetting[:] = True
        nothing = np.zeros(self.num_envs, np.int64)
        latest = self.observations[self._slot(self.time)]
        self.add(latest, nothing, nothing, nothing.astype(np.bool_), nothing.astype(np.bool_), observations)

    def capture(self) -> Capture:
        """All rows and the cursor. A row may change until its n steps are over; the slot after the newest is open."""
        written, behind = (self.time + 1) * self.num_envs, (self.n_step + 1) * self.num_envs
        return {
            **{name: Ring(getattr(self, name), written, behind) for name in _ROWS},
            **{name: getattr(self, name) for name in _CURSOR},
            "priorities": self.priorities and self.priorities.capture(),
        }

    def restore(self, capture: Capture) -> None:
        """Takes over captured rows, as they are, and the cursor."""
        for name in (*_ROWS, *_CURSOR):
            setattr(self, name, capture[name])
        if self.priorities:
            self.priorities.restore(capture["priorities"])

    def _slot(self, time: int) -> slice:
        """The rows of a time step."""
        first = time % self.time_steps * self.num_envs
        return slice(first, first + self.num_envs)

    def _end_episode(self, environment: np.int64, *, terminated: bool) -> list[NDArray[np.int64]]:
        """Makes what is left of an episode into transitions that end with its last step; which rows."""
        ages = range(int(self._age[environment]), 0, -1)
        self._age[environment] = 0
        return [self._complete(np.array([environment]), age, age + self.n_step * terminated) for age in ages]

    def _complete(self, environments: NDArray[np.int64], steps: int, outcome: int) -> NDArray[np.int64]:
        """Makes the rows of `steps - 1` time steps ago into transitions that end with the present step; which rows."""
        rows = (self.time - steps + 1) % self.time_steps * self.num_envs + environments
        self.returns[rows] = self._gammas[:steps] @ self._recent_rewards[-steps:].take(environments, axis=1)
        self.outcomes[rows] = outcome
        self._size += len(environments)
        return rows

    def _draw(self, batch_size: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Different rows that are transitions: what is none or was drawn before is drawn again."""
        limit = min(self.time + 1, self.time_steps) * self.num_envs
        rows = generator.integers(0, limit, batch_size)
        while True:
            rows.sort()
            wrong = self.outcomes.take(rows) == 0
            wrong[1:] |= rows[1:] == rows[:-1]
            count = int(np.count_nonzero(wrong))
            if count == 0:
                return rows
            rows[wrong] = generator.integers(0, limit, count)


_ROWS = ("observations", "actions", "returns", "outcomes")
_NO_ROWS = np.zeros(0, np.int64)
_CURSOR = ("time", "_size", "_recent_rewards", "_age", "_resetting")
