"""The best policy of a run so far, by the evaluations on the selection seeds."""

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
    cut: int = 0  # episodes that a limit ended and not the environment


_UNPLAYED = CheckpointScore(0, -math.inf)


@dataclasses.dataclass
class Selection(Stateful):
    """Scores so far, and the weights of the best (the latest of equals)."""

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
    reached: int = 0  # evaluations in a row with the return that ends training
    due: int = 0  # environment steps at which the next evaluation is due
    env_steps: int = 0  # that all evaluations took, those of random actions included
    seconds: float = 0.0  # that those in `scores` took
    random_env_steps: int = 0  # of these, with random actions
    random_episodes: int | None = None  # with random actions, to their end; None before they were played
    random_mean: float | None = None  # return of random actions; None where no episode came to its end

    def add(self, score: CheckpointScore, weights: Tensor, stop_return: float | None) -> None:
        """Records an evaluation of `weights`, and keeps the weights if none was better."""
        self.scores.append(score)
        if score.mean >= self.chosen.mean:
            self.chosen, self.weights = score, weights.clone()
        enough = stop_return is not None and score.mean >= stop_return
        self.reached = self.reached + 1 if enough else 0

    def load_state_dict(self, state: State) -> None:
        """Takes over a saved state; a checkpoint has plain lists in it."""
        super().load_state_dict(state)
        self.scores = [CheckpointScore(*score) for score in self.scores]
        self.chosen = CheckpointScore(*self.chosen)
