"""Experience replay of n-step transitions, in preallocated arrays.

Rows are written one time step at a time, one row per environment, so that row `i` of step `t` and row `i` of
step `t + k` belong to the same environment: an observation is stored once and serves as the next observation of the
row `k` steps earlier. A row becomes a transition once its n rewards are known or its episode has ended. Its
*outcome* is a small integer: 0 for a row that is not (yet) a transition, k for one that bootstraps after k steps, n + k
for one whose episode terminated in step k. It determines the next row and the discount. Of stacked observations a row
holds only the newest frame; the earlier ones are in the rows of earlier steps.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqn_models.masks import BoolArray
from dqn_models.spaces import ActionSpace
from dqn_training.checkpoint.values import Ring, State, Stateful
from dqn_training.replay.frames import frame_dtype, newest_frames, stack
from dqn_training.replay.masks import packed_masks, unpacked_masks
from dqn_training.replay.source import Batch
from dqn_training.replay.sum_tree import Priorities

_RINGS = ("_observations", "_actions", "_returns", "_outcomes", "_history", "_masks")
_NO_ROWS = np.zeros(0, np.int64)


class ReplayBuffer(Stateful):
    """The last `capacity` rows of `num_envs` environments: an ExperienceSource."""

    _state = (*_RINGS, "time", "_size", "_recent_rewards", "_age", "_priorities")

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        observation_shape: tuple[int, ...],
        observation_dtype: np.dtype[Any],
        actions: ActionSpace,
        n_step: int,
        gamma: float,
        priority_exponent: float | None = None,
        frames: int = 1,
        *,
        masked: bool = False,
    ) -> None:
        """Allocates everything at once; the operating system provides the memory as it is written.

        Args:
            capacity: number of rows, rounded down to whole time steps.
            num_envs: number of environments, each with one row per time step.
            observation_shape: shape of one observation.
            observation_dtype: dtype in which observations are stored.
            actions: space of the actions, which are stored as indices.
            n_step: maximum number of rewards in a return before bootstrapping.
            gamma: discount factor per step.
            priority_exponent: exponent of priorities; None: uniform sampling.
            frames: number of stacked frames in the first dimension of an observation or of each of its leaves.
            masked: whether to store the action masks of next observations.
        """
        self.num_envs = num_envs
        self.n_step = n_step
        self.observation_dtype = observation_dtype
        self.time_steps = capacity // num_envs
        rows = self.time_steps * num_envs
        self._row_dtype = np.dtype((observation_dtype, observation_shape))
        self._frames = frames
        self._observations = np.zeros(rows, self._row_dtype if frames == 1 else frame_dtype(self._row_dtype))
        self._history = np.zeros(
            0 if frames == 1 else rows, np.uint8
        )  # frames of the episode before it, as far as used
        self._actions = np.zeros(rows, actions.index_dtype)
        self._returns = np.zeros(rows, np.float32)
        self._outcomes = np.zeros(rows, np.min_scalar_type(2 * n_step))
        self._masks = packed_masks(rows if masked else 0, actions.n)
        self._action_space = actions
        self._priorities = None if priority_exponent is None else Priorities(rows, priority_exponent)
        self.time = 0  # time steps written so far
        self._size = 0
        self._gammas = gamma ** np.arange(n_step + 1)
        # By outcome: the distance in rows to the next observation, and the discount of its value.
        steps = np.arange(1, n_step + 1)
        self._distances = np.concatenate([[0], steps, steps]) * num_envs
        self._discounts = np.concatenate([[0], self._gammas[1:], np.zeros(n_step)]).astype(np.float32)
        self._recent_rewards = np.zeros((n_step, num_envs))  # the last n, newest last
        self._age = np.zeros(num_envs, np.int64)  # steps of the running episode that are not yet transitions

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
        alive: NDArray[np.bool_],
        next_masks: BoolArray | None = None,
    ) -> None:
        """Adds one time step of every environment, each array [num_envs, ...].

        Where `alive` is False, the step only reset: it is not a transition, and its row only holds the last observation
        of the episode. A step within an episode completes the transition that started n - 1 steps ago, the last step
        all open ones: with n = 3, rewards 1, 2, 3, 4 give the returns 1 + 2g + 3g^2, 2 + 3g + 4g^2, 3 + 4g and 4.
        """
        rows, next_rows = self._slot(self.time), self._slot(self.time + 1)
        self._write(rows, next_rows, observations, next_observations, alive)
        self._actions[rows] = actions
        self._recent_rewards[:-1] = self._recent_rewards[1:]
        self._recent_rewards[-1] = rewards
        if next_masks is not None:
            self._masks[next_rows] = np.packbits(next_masks, axis=1)
        # The rows of the next step hold the newest next observations until that step rewrites them; rows of stacked
        # observations expire before the frames that they need are overwritten.
        ending = self._slot(self.time + self._frames)
        self._size -= int(np.count_nonzero(self._outcomes[ending]))
        self._outcomes[ending] = 0
        self._age += 1
        self._age[~alive] = 0
        ended = (terminated | truncated) & alive
        full = ((self._age == self.n_step) & ~ended).nonzero()[0]
        completed = []
        if len(full):
            completed.append(self._complete(full, self.n_step, self.n_step))
            self._age[full] -= 1
        for environment in ended.nonzero()[0]:
            completed += self._end_episode(environment, terminated=bool(terminated[environment]))
        if self._priorities:
            self._priorities.replace(np.r_[ending], np.concatenate(completed or [_NO_ROWS]))
        self.time += 1

    def sample(self, batch_size: int, generator: np.random.Generator, importance_exponent: float = 0.0) -> Batch:
        """A batch of transitions. Requires `len(self) >= batch_size`.

        Without priorities they are distinct and equally likely; otherwise they are sampled by priority, with
        importance-sampling weights of this exponent.
        """
        if self._priorities:
            rows, weights = self._priorities.draw(batch_size, importance_exponent, generator)
        else:
            rows, weights = self._draw(batch_size, generator), None
        outcomes = self._outcomes.take(rows)
        next_rows = rows + self._distances.take(outcomes)
        discounts = self._discounts.take(outcomes)
        next_masks = None
        if len(self._masks):
            next_masks, possible = unpacked_masks(self._masks.take(next_rows, axis=0, mode="wrap"), self._action_space)
            discounts *= possible
        return Batch(
            self._take(rows),
            self._actions.take(rows, axis=0).astype(np.int64),
            self._returns.take(rows),
            discounts,
            self._take(next_rows),
            rows,
            weights,
            next_masks,
        )

    def update_priorities(self, rows: NDArray[np.int64], errors: NDArray[np.float32]) -> None:
        """Sets the priorities of rows [batch] from their errors [batch] >= 0; ignored without priorities."""
        if self._priorities:
            self._priorities.update(rows, errors)

    def observations(self, most_bytes: int = 2**26) -> NDArray[Any]:
        """Observations of the transitions, [count, *observation_shape]; evenly subsampled to about `most_bytes`."""
        rows = np.flatnonzero(self._outcomes > 0)
        sampled_every = -(-len(rows) * self._row_dtype.itemsize // most_bytes)
        return self._take(rows[:: max(1, sampled_every)])

    def terminal_fraction(self) -> float:
        """Fraction of transitions in which the episode terminated; NaN without transitions."""
        return int((self._outcomes > self.n_step).sum()) / self._size if self._size else float("nan")

    def begin_episodes(self, observations: NDArray[Any], masks: BoolArray | None = None) -> None:
        """Abandons the running episodes; new ones start with these observations and masks [num_envs, ...]."""
        nothing, never = np.zeros(self.num_envs), np.zeros(self.num_envs, np.bool_)
        rows = np.arange(len(self._outcomes))
        latest = self._take(rows[self._slot(self.time)])
        self.add(
            latest, np.zeros_like(self._actions[: self.num_envs]), nothing, never, never, observations, never, masks
        )

    def state_dict(self) -> State:
        """All rows and the cursor. A row may change until its n steps are over, as may the rows after the newest."""
        written, mutable_tail = (self.time + self._frames) * self.num_envs, (self.n_step + self._frames) * self.num_envs
        rows = {name: Ring(getattr(self, name), written, mutable_tail) for name in _RINGS}
        return {**super().state_dict(), **rows}

    def _write(
        self,
        rows: slice,
        next_rows: slice,
        observations: NDArray[Any],
        next_observations: NDArray[Any],
        alive: NDArray[np.bool_],
    ) -> None:
        """Writes the observations of a time step and the next; where not `alive`, the next one starts an episode."""
        if self._frames == 1:
            self._observations[rows], self._observations[next_rows] = observations, next_observations
            return
        self._observations[rows] = newest_frames(observations, self._observations.dtype)
        self._observations[next_rows] = newest_frames(next_observations, self._observations.dtype)
        self._history[next_rows] = np.where(alive, np.minimum(self._history[rows] + 1, self._frames - 1), 0)

    def _take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The observations of rows [batch]; rows may exceed the end by less than the ring's length."""
        if self._frames == 1:
            return self._observations.take(rows, axis=0, mode="wrap")
        rows = rows % len(self._history)
        ages = np.minimum(np.arange(self._frames - 1, -1, -1), self._history.take(rows)[:, np.newaxis])
        each = self._observations.take(rows[:, np.newaxis] - ages * self.num_envs, axis=0, mode="wrap")
        return stack(each, self._row_dtype)

    def _slot(self, time: int) -> slice:
        """The rows of a time step."""
        first = time % self.time_steps * self.num_envs
        return slice(first, first + self.num_envs)

    def _end_episode(self, environment: np.int64, *, terminated: bool) -> list[NDArray[np.int64]]:
        """Turns the open rows of an episode into transitions that end with its last step; returns these rows."""
        ages = range(int(self._age[environment]), 0, -1)
        self._age[environment] = 0
        return [self._complete(np.array([environment]), age, age + self.n_step * terminated) for age in ages]

    def _complete(self, environments: NDArray[np.int64], steps: int, outcome: int) -> NDArray[np.int64]:
        """Turns the rows of `steps - 1` time steps ago into transitions that end now; returns these rows."""
        rows = (self.time - steps + 1) % self.time_steps * self.num_envs + environments
        self._returns[rows] = self._gammas[:steps] @ self._recent_rewards[-steps:].take(environments, axis=1)
        self._outcomes[rows] = outcome
        self._size += len(environments)
        return rows

    def _draw(self, batch_size: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Distinct rows that are transitions; invalid or repeated ones are redrawn."""
        limit = min(self.time + 1, self.time_steps) * self.num_envs
        rows = generator.integers(0, limit, batch_size)
        while True:
            rows.sort()
            wrong = self._outcomes.take(rows) == 0
            wrong[1:] |= rows[1:] == rows[:-1]
            count = int(np.count_nonzero(wrong))
            if count == 0:
                return rows
            rows[wrong] = generator.integers(0, limit, count)
