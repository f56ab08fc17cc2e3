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


_UNPLAYED = CheckpointScore(0, -math.inf)


@dataclasses.dataclass
class Selection(Stateful):
    """Scores so far, and the weights of the best (the latest of equals)."""

    _state = ("scores", "chosen", "weights", "reached", "due")

    scores: list[CheckpointScore] = dataclasses.field(default_factory=list)
    chosen: CheckpointScore = _UNPLAYED
    weights: Tensor | None = None  # flat, as `DQNAgent.policy_parameters`
    reached: int = 0  # evaluations in a row with the return that ends training
    due: int = 0  # environment steps at which the next evaluation is due

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
