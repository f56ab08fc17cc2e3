"""Learning of actions that branch (Tavakoli et al., 2018): each component has Q-values, and all have one target.

The next observation's value is the mean over the components of the target network's Q-values of their best values
(equation 6 of the paper), the loss the mean over the components of the loss of each, and a transition's priority the
sum of their absolute TD errors.
"""

import torch
from torch import Tensor

from dqn_models.spaces.actions import layout_of
from dqn_training.learning.losses import ActionLoss, Objective
from dqn_training.learning.targets import mean_target


class _Branches:
    """Where the Q-values of each component are in a row of all."""

    def __init__(self, branches: tuple[int, ...], device: torch.device) -> None:
        layout = layout_of(branches)
        self._offsets = torch.tensor(layout.offsets, device=device)
        self._shape = layout.positions.shape
        self._is_uniform = layout.filled.all()
        self._positions = torch.tensor(layout.positions.ravel(), device=device)

    def taken(self, q_values: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """The Q-values [batch, branches] of actions, as indices of that shape, and where they are in their rows."""
        index = actions + self._offsets
        return q_values.gather(1, index), index

    def best(self, q_values: Tensor) -> Tensor:
        """The indices [batch, branches] of the highest Q-value of each component; the first on ties."""
        grouped = q_values if self._is_uniform else q_values.index_select(1, self._positions)
        return grouped.view(-1, *self._shape).argmax(dim=2)


def branching_objective(branches: tuple[int, ...], action_loss: ActionLoss, device: torch.device) -> Objective:
    """The objective of so many Q-values for each component."""
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
