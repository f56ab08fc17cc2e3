"""Losses: how far a network's outputs are from their targets, with the derivative by the outputs.

A loss takes the outputs for all actions, [batch, n_actions] or [batch, n_actions, atoms], and so may depend on all of
them, as conservative Q-learning does. Those here depend on the actions taken: a function of their outputs, [batch] or
[batch, atoms], which `of_actions` makes into a loss.
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
"""outputs, actions [batch], target -> the loss of each transition [batch], its derivative, shaped as the outputs."""
ActionLoss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""outputs of the actions taken, target -> the loss of each transition [batch], and its derivative by the outputs."""


class Objective(NamedTuple):
    """A kind of target with its loss. Actions are indices, [batch], or rows of one for each component that branches."""

    target: Target
    loss: Loss
    error: Callable[[Tensor, Tensor, Tensor], Tensor] | None
    """As the loss, -> how surprising each transition is [batch]: its priority in replay. None: its loss says it, as
    Rainbow's does (Hessel et al., 2018)."""
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
    """The loss of the outputs for the actions taken; by all others its derivative is 0."""

    def loss(outputs: Tensor, actions: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        index = _index(outputs, actions)
        losses, derivative = action_loss(outputs.gather(1, index).squeeze(1), target)
        return losses, torch.zeros_like(outputs).scatter_(1, index, derivative.view_as(index))

    return loss


def by_autograd(losses: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Loss:
    """The loss of a function that gives no derivative; autograd goes through it alone, not through the network."""

    def loss(outputs: Tensor, actions: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            variable = outputs.detach().requires_grad_()
            found = losses(variable, actions, target)
            (derivative,) = torch.autograd.grad(found.sum(), variable)
        return found.detach(), derivative.contiguous()

    return loss


def outputs_of(outputs: Tensor, actions: Tensor) -> Tensor:
    """The outputs [batch, ...] of one action [batch] each, among those of all, [batch, n_actions, ...]."""
    return outputs.gather(1, _index(outputs, actions)).squeeze(1)


def outputs_of_best(outputs: Tensor, q_values: Tensor) -> Tensor:
    """The outputs [batch, ...] of the actions whose Q-values [batch, n_actions] are highest; the first on ties."""
    if outputs is q_values:
        return outputs.amax(dim=1)
    return outputs_of(outputs, q_values.argmax(dim=1))


def huber(q_values: Tensor, td_target: Tensor) -> tuple[Tensor, Tensor]:
    """Half the squared TD error, linear beyond 1 (Huber, 1964), and its derivative: the error, clipped.

    As with quantile_loss, it is c (u - c / 2) with u the error and c the same clipped.
    """
    td_error = q_values - td_target
    derivative = td_error.clamp(-1.0, 1.0)
    return td_error.sub_(derivative, alpha=0.5).mul_(derivative), derivative


def squared(q_values: Tensor, td_target: Tensor) -> tuple[Tensor, Tensor]:
    """The squared TD error and its derivative."""
    td_error = q_values - td_target
    return td_error.square(), 2 * td_error


def categorical_loss(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Kullback-Leibler divergence of the learned from the target distribution, and its derivative by the logits.

    Both are [batch, atoms], the target as probabilities.
    """
    learned = logits.log_softmax(dim=1)
    log_target = target.clamp(min=_TINY).log()  # where the target is 0, so is the product
    return (target * (log_target - learned)).sum(dim=1), learned.exp() - target


def quantile_loss(quantiles: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Quantile regression with Huber's loss at 1 (Dabney et al., 2018, equation 10), both [batch, atoms], and its
    derivative.

    With u the difference and c the same clipped to -1..1, Huber's loss is c (u - c / 2) and its derivative c.
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
