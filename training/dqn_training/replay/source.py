"""The interface of experience sources: what acting adds to them and what learning gets from them."""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dqn_models.masks import BoolArray
from dqn_training.checkpoint.values import State


class Batch(NamedTuple):
    """Transitions as arrays; the target is `returns + discounts * value(next_observations)`."""

    observations: NDArray[Any]  # [batch, *observation_shape]
    actions: NDArray[np.int64]  # indices [batch], or [batch, branches]
    returns: NDArray[np.float32]  # [batch], sum of gamma^j * reward_j over the k <= n steps to next_observation
    discounts: NDArray[np.float32]  # [batch], gamma^k, or 0 where the episode terminated
    next_observations: NDArray[Any]  # [batch, *observation_shape]
    rows: NDArray[np.int64]  # [batch], where they are in the source until the next `add`
    weights: NDArray[np.float32] | None = None  # [batch], of their losses, where they were drawn by priority
    next_masks: BoolArray | None = None
    """[batch, n_actions], which actions the next observations allow, at least one each; those that allow none have all,
    and discount 0, as if the episode had terminated."""


class Experience(Protocol):
    """The environments' steps, as acting adds them and as monitoring and checkpoints read them."""

    def __len__(self) -> int:
        """Number of transitions."""

    @property
    def observation_dtype(self) -> np.dtype[Any]:
        """The dtype of its observations."""

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
        """Adds one time step of every environment, each array [num_envs, ...]; masks are [num_envs, n_actions].

        Where `alive` is False the step only reset its environment (Gymnasium's next-step autoreset): its action was
        ignored, its observation was the last of the episode before, and it is no transition.
        """

    def begin_episodes(self, observations: NDArray[Any], masks: BoolArray | None = None) -> None:
        """Leaves the running episodes unfinished; new ones begin with these observations and masks [num_envs, ...]."""

    def observations(self) -> NDArray[Any]:
        """Observations that transitions began with, [count, *observation_shape]; where there are many, a sample."""

    def terminal_fraction(self) -> float:
        """The fraction of transitions whose episode terminated within them; NaN before the first."""

    def state_dict(self) -> State:
        """What a checkpoint keeps of it."""

    def load_state_dict(self, state: State) -> None:
        """Takes over what a checkpoint kept."""


class ExperienceSource(Experience, Protocol):
    """Experience that is learned from in batches, each transition as often as it is drawn."""

    def sample(self, batch_size: int, generator: np.random.Generator, importance_exponent: float = 0.0) -> Batch:
        """A batch of transitions. Needs `len(self) >= batch_size`.

        Where transitions have priorities they are drawn by these, with weights that correct for it as far as the
        exponent says.
        """

    def update_priorities(self, rows: NDArray[np.int64], errors: NDArray[np.float32]) -> None:
        """Gives the transitions in `rows` of the last batch the priorities of their errors, both [batch].

        A source without priorities ignores them.
        """
