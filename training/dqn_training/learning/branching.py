"""Learning with actions that branch (Tavakoli et al., 2018): each component has Q-values, and all share one target.

The value of the next observation is the mean over components of the target network's Q-value for the component's best
value (equation 6 of the paper), the loss is the mean over components, and a transition's priority is the sum of the
components' absolute TD errors.
"""

import torch
from torch import Tensor

from dqn_models.spaces.actions import layout_of
from dqn_training.learning.losses import ActionLoss, Objective
from dqn_training.learning.targets import mean_target


class _Branches:
    """The positions of each component's Q-values in a row of all Q-values."""

    def __init__(self, branches: tuple[int, ...], device: torch.device) -> None:
        layout = layout_of(branches)
        self._offsets = torch.tensor(layout.offsets, device=device)
        self._shape = layout.positions.shape
        self._is_uniform = layout.filled.all()
        self._positions = torch.tensor(layout.positions.ravel(), device=device)

    def taken(self, q_values: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """The Q-values [batch, branches] of actions (indices of that shape), and their positions in the rows."""
        index = actions + self._offsets
        return q_values.gather(1, index), index

    def best(self, q_values: Tensor) -> Tensor:
        """Indices [batch, branches] of the highest Q-value of each component; ties go to the first."""
        grouped = q_values if self._is_uniform else q_values.index_select(1, self._positions)
        return grouped.view(-1, *self._shape).argmax(dim=2)


def branching_objective(branches: tuple[int, ...], action_loss: ActionLoss, device: torch.device) -> Objective:
    """The objective for components with these numbers of Q-values."""
    layout = _Branches(branches, device)

    def loss(q_values: Tensor, actions: Tensor, td_target: Tensor) -> tuple[Tensor, Tensor]:
        taken, index = layout.taken(q_values, actions)
        losses, derivative = action_loss(taken, td_target.unsqueeze(1))
        return losses.mean(dim=1), torch.zeros_like(q_values).scatter_(1, index, derivative.div_(len(branches)))

    def error(q_values: Tensor, actions: Tensor, td_target: Tensor) -> Tensor:
        taken, _ = layout.taken(q_values, actions)
        return (taken - td_target.unsqueeze(1)).abs_().sum(dim=1)

    def outputs_of_best(q_values: Tensor, judged: Tensor) -> Tensor:
        taken, _ = layout.taken(q_values, layout.best(judged))
        return taken.mean(dim=1)

    return Objective(mean_target, loss, error, outputs_of_best)
