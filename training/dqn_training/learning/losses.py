"""Losses of a network's outputs given their targets, with the derivatives with respect to the outputs.

A loss takes the outputs for all actions, [batch, n_actions] or [batch, n_actions, atoms], and may depend on all of
them, as in conservative Q-learning. The losses here depend only on the actions taken: each is a function of their
outputs, [batch] or [batch, atoms], which `of_actions` turns into a loss.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dqn_training.config import DQNConfig
from dqn_training.learning.targets import Target, categorical_target, mean_target, quantile_target
from dqn_training.networks.heads import CategoricalMean

_TINY = 1e-30

Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""outputs, actions [batch], target -> the loss of each transition [batch], its derivative in the outputs' shape."""
ActionLoss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""outputs of the actions taken, target -> the loss of each transition [batch], its derivative in the outputs' shape."""


class Objective(NamedTuple):
    """A kind of target with its loss. Actions are indices, [batch], or rows of one for each component that branches."""

    target: Target
    loss: Loss
    error: Callable[[Tensor, Tensor, Tensor], Tensor] | None
    """Same arguments as the loss -> the error [batch] that sets the priorities in replay. None: use the loss, as in
    Rainbow (Hessel et al., 2018)."""
    outputs_of_best: Callable[[Tensor, Tensor], Tensor]
    """outputs, Q-values for the same observations -> the outputs for the actions that these say are best [batch, ...].
    """


def make_objective(config: DQNConfig, q_network: nn.Sequential) -> Objective:
    """The objective of a configuration, for a network that was made for it."""
    head = q_network[-1]
    if isinstance(head, CategoricalMean):
        return Objective(partial(categorical_target, head.values), of_actions(categorical_loss), None, outputs_of_best)
    if config.distribution == "quantile":
        return Objective(quantile_target, of_actions(quantile_loss), None, outputs_of_best)
    return Objective(mean_target, of_actions(mean_loss(config)), _td_error, outputs_of_best)


def mean_loss(config: DQNConfig) -> ActionLoss:
    """The loss of a configuration for mean returns."""
    return huber if config.loss == "huber" else squared


def of_actions(action_loss: ActionLoss) -> Loss:
    """A loss on the outputs for the actions taken; the derivative for all other actions is 0."""

    def loss(outputs: Tensor, actions: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        index = _index(outputs, actions)
        losses, derivative = action_loss(outputs.gather(1, index).squeeze(1), target)
        return losses, torch.zeros_like(outputs).scatter_(1, index, derivative.view_as(index))

    return loss


def by_autograd(losses: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Loss:
    """A loss from a function without derivative; autograd differentiates only this function, not the network."""

    def loss(outputs: Tensor, actions: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            variable = outputs.detach().requires_grad_()
            found = losses(variable, actions, target)
            (derivative,) = torch.autograd.grad(found.sum(), variable)
        return found.detach(), derivative.contiguous()

    return loss


def outputs_of(outputs: Tensor, actions: Tensor) -> Tensor:
    """The outputs [batch, ...] for one action each, [batch], out of those for all, [batch, n_actions, ...]."""
    return outputs.gather(1, _index(outputs, actions)).squeeze(1)


def outputs_of_best(outputs: Tensor, q_values: Tensor) -> Tensor:
    """The outputs [batch, ...] of the actions whose Q-values [batch, n_actions] are highest; the first on ties."""
    if outputs is q_values:
        return outputs.amax(dim=1)
    return outputs_of(outputs, q_values.argmax(dim=1))


def huber(q_values: Tensor, td_target: Tensor) -> tuple[Tensor, Tensor]:
    """Half the squared TD error, linear beyond 1 (Huber, 1964), and its derivative, the clipped error.

    Computed as c (u - c / 2), where u is the error and c the clipped error.
    """
    td_error = q_values - td_target
    derivative = td_error.clamp(-1.0, 1.0)
    return td_error.sub_(derivative, alpha=0.5).mul_(derivative), derivative


def squared(q_values: Tensor, td_target: Tensor) -> tuple[Tensor, Tensor]:
    """The squared TD error and its derivative."""
    td_error = q_values - td_target
    return td_error.square(), 2 * td_error


def categorical_loss(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The Kullback-Leibler divergence of the learned from the target distribution, and its derivative by the logits.

    Both arguments are [batch, atoms]; the target contains probabilities.
    """
    learned = logits.log_softmax(dim=1)
    log_target = target.clamp(min=_TINY).log()  # where the target is 0, so is the product
    return (target * (log_target - learned)).sum(dim=1), learned.exp() - target


def quantile_loss(quantiles: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The quantile Huber loss with threshold 1 (Dabney et al., 2018, equation 10), and its derivative.

    Both arguments are [batch, atoms]. With u the difference and c the same clipped to [-1, 1], the Huber loss is
    c (u - c / 2) and its derivative is c.
    """
    atoms = quantiles.shape[1]
    levels = ((torch.arange(atoms, device=quantiles.device, dtype=quantiles.dtype) + 0.5) / atoms).unsqueeze(1)
    differences = target.unsqueeze(1) - quantiles.unsqueeze(2)  # [batch, quantile, target]
    clipped = differences.clamp(-1, 1)
    weighted = torch.where(differences < 0, 1 - levels, levels).mul_(clipped)
    losses = differences.sub_(clipped, alpha=0.5).mul_(weighted).sum(dim=(1, 2)) / atoms
    return losses, weighted.sum(dim=2).mul_(-1 / atoms)


def _td_error(outputs: Tensor, actions: Tensor, td_target: Tensor) -> Tensor:
    return (outputs_of(outputs, actions) - td_target).abs()


def _index(outputs: Tensor, actions: Tensor) -> Tensor:
    """Where the outputs of the actions [batch] are among outputs [batch, n_actions, ...], for gather and scatter."""
    if outputs.dim() == 2:
        return actions.unsqueeze(1)
    return actions.view(-1, 1, 1).expand(-1, 1, outputs.shape[2])
