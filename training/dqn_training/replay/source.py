"""The interface of experience sources: acting adds to them, learning samples from them."""

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
    discounts: NDArray[np.float32]  # [batch], gamma^k, or 0 if the episode terminated
    next_observations: NDArray[Any]  # [batch, *observation_shape]
    rows: NDArray[np.int64]  # [batch], their rows in the source, valid until the next `add`
    weights: NDArray[np.float32] | None = None  # [batch], importance-sampling weights if sampled by priority
    next_masks: BoolArray | None = None
    """[batch, n_actions], the actions allowed in the next observations, at least one each; where none is, all are set
    and the discount is 0, as if the episode had terminated."""


class Experience(Protocol):
    """Steps of the environments: added by acting, read by monitoring and checkpoints."""

    def __len__(self) -> int:
        """Number of transitions."""

    @property
    def observation_dtype(self) -> np.dtype[Any]:
        """Dtype of the observations."""

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

        Where `alive` is False, the step only reset its environment (Gymnasium's next-step autoreset): its action was
        ignored, its observation is the last of the previous episode, and it is not a transition.
        """

    def begin_episodes(self, observations: NDArray[Any], masks: BoolArray | None = None) -> None:
        """Abandons the running episodes; new ones start with these observations and masks [num_envs, ...]."""

    def observations(self) -> NDArray[Any]:
        """Observations at the start of transitions, [count, *observation_shape]; a sample if there are many."""

    def terminal_fraction(self) -> float:
        """Fraction of transitions in which the episode terminated; NaN without transitions."""

    def state_dict(self) -> State:
        """The state for a checkpoint."""

    def load_state_dict(self, state: State) -> None:
        """Restores the state from a checkpoint."""


class ExperienceSource(Experience, Protocol):
    """Experience that is sampled in batches of transitions."""

    def sample(self, batch_size: int, generator: np.random.Generator, importance_exponent: float = 0.0) -> Batch:
        """A batch of transitions. Requires `len(self) >= batch_size`.

        Transitions with priorities are sampled by priority, with importance-sampling weights of this exponent.
        """

    def update_priorities(self, rows: NDArray[np.int64], errors: NDArray[np.float32]) -> None:
        """Sets the priorities of the last batch's transitions in `rows` [batch] from their errors [batch].

        A source without priorities ignores this.
        """
