"""The best policy of a run so far, by its evaluations on the selection seeds."""

import dataclasses
import math
from typing import NamedTuple

from torch import Tensor

from dqn_training.checkpoint.values import State, Stateful


class CheckpointScore(NamedTuple):
    """A greedy evaluation during training."""

    env_steps: int
    mean: float
    episodes: int = 0
    mean_length: float = math.nan  # steps
    cut: int = 0  # number of episodes ended by a limit, not by the environment


_UNPLAYED = CheckpointScore(0, -math.inf)


@dataclasses.dataclass
class Selection(Stateful):
    """The scores so far, and the weights of the best (the latest on ties)."""

    _state = (
        "scores",
        "chosen",
        "weights",
        "reached",
        "due",
        "env_steps",
        "seconds",
        "random_env_steps",
        "random_episodes",
        "random_mean",
    )

    scores: list[CheckpointScore] = dataclasses.field(default_factory=list)
    chosen: CheckpointScore = _UNPLAYED
    weights: Tensor | None = None  # flat, as `DQNAgent.policy_parameters`
    reached: int = 0  # number of latest consecutive evaluations that reached stop_return
    due: int = 0  # environment steps at which the next evaluation is due
    env_steps: int = 0  # taken by all evaluations, including those with random actions
    seconds: float = 0.0  # taken by the evaluations in `scores`
    random_env_steps: int = 0  # taken with random actions
    random_episodes: int | None = None  # complete episodes with random actions; None before they were played
    random_mean: float | None = None  # mean return of random actions; None without a complete episode

    def add(self, score: CheckpointScore, weights: Tensor, stop_return: float | None) -> None:
        """Records an evaluation of `weights`, and keeps these if no earlier ones were better."""
        self.scores.append(score)
        if score.mean >= self.chosen.mean:
            self.chosen, self.weights = score, weights.clone()
        enough = stop_return is not None and score.mean >= stop_return
        self.reached = self.reached + 1 if enough else 0

    def load_state_dict(self, state: State) -> None:
        """Restores a saved state, in which tuples are lists."""
        super().load_state_dict(state)
        self.scores = [CheckpointScore(*score) for score in self.scores]
        self.chosen = CheckpointScore(*self.chosen)
