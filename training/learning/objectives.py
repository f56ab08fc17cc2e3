"""What the network's outputs for the actions taken are moved towards, and how far off they are.

Outputs here are those of one action in each transition: [batch] for mean returns, [batch, atoms] for distributions.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.config import DQNConfig
from training.learning.heads import CategoricalMean


class Objective(NamedTuple):
    """A kind of target with its loss."""

    target: Callable[[Tensor, Tensor, Tensor], Tensor]
    """returns [batch], discounts [batch], outputs for the next observations -> target, shaped as the outputs."""
    loss: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    """outputs, target -> the loss of each transition [batch], and its derivative by the outputs, shaped as they are."""
    error: Callable[[Tensor, Tensor], Tensor]
    """outputs, target -> how surprising each transition is [batch]: its priority in replay."""


def make_objective(config: DQNConfig, q_network: nn.Sequential) -> Objective:
    """The objective of a configuration, for a network that was made for it."""
    if config.distribution == "c51":
        head = q_network[-1]
        assert isinstance(head, CategoricalMean)  # noqa: S101  (make_q_network put it there)
        return Objective(_projection(head.values), _with_derivative(categorical_loss), categorical_loss)
    if config.distribution == "quantile":
        return Objective(quantile_target, _with_derivative(quantile_loss), quantile_loss)
    losses = {"huber": huber, "squared": squared}
    return Objective(mean_target, losses[config.loss], _absolute)


def mean_target(returns: Tensor, discounts: Tensor, next_values: Tensor) -> Tensor:
    """td_target = return + discount * value of the next observation."""
    return returns + discounts * next_values


def categorical_target(values: Tensor, returns: Tensor, discounts: Tensor, next_logits: Tensor) -> Tensor:
    """Probabilities [batch, atoms] on the fixed, evenly spaced `values` [atoms] (Bellemare et al., 2017, algorithm 1).

    Each moved value return + discount * z lies between two fixed ones, and leaves them its probability in proportion to
    how near it is to each.
    """
    low, high, last = values[0], values[-1], len(values) - 1
    moved = (returns.unsqueeze(1) + discounts.unsqueeze(1) * values).clamp(low, high)
    position = ((moved - low) * (last / (high - low))).clamp(0, last)
    below = position.floor()
    share_above = position - below
    below_index = below.long()
    above_index = (below_index + 1).clamp(max=last)
    probabilities = next_logits.softmax(dim=1)
    projected = torch.zeros_like(probabilities)
    projected.scatter_add_(1, below_index, probabilities * (1 - share_above))
    return projected.scatter_add_(1, above_index, probabilities * share_above)


def categorical_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the learned from the target distribution, both [batch, atoms]."""
    return (torch.xlogy(target, target) - target * logits.log_softmax(dim=1)).sum(dim=1)


def quantile_target(returns: Tensor, discounts: Tensor, next_quantiles: Tensor) -> Tensor:
    """Every next quantile [batch, atoms], discounted and moved by the return."""
    return returns.unsqueeze(1) + discounts.unsqueeze(1) * next_quantiles


def quantile_loss(quantiles: Tensor, target: Tensor) -> Tensor:
    """Quantile regression with Huber's loss at 1 (Dabney et al., 2018, equation 10); both [batch, atoms]."""
    atoms = quantiles.shape[1]
    levels = (torch.arange(atoms, device=quantiles.device) + 0.5) / atoms
    differences = target.unsqueeze(1) - quantiles.unsqueeze(2)  # [batch, quantile, target]
    huber = functional.huber_loss(differences, torch.zeros_like(differences), reduction="none")
    weights = (levels.view(1, -1, 1) - (differences.detach() < 0).float()).abs()
    return (weights * huber).mean(dim=2).sum(dim=1)


def _projection(values: Tensor) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda returns, discounts, next_logits: categorical_target(values, returns, discounts, next_logits)


def huber(q_values: Tensor, td_target: Tensor) -> tuple[Tensor, Tensor]:
    """Half the squared TD error, linear beyond 1 (Huber, 1964), and its derivative: the error, clipped."""
    derivative = (q_values - td_target).clamp_(-1.0, 1.0)
    return functional.smooth_l1_loss(q_values, td_target, reduction="none"), derivative


def squared(q_values: Tensor, td_target: Tensor) -> tuple[Tensor, Tensor]:
    """The squared TD error and its derivative."""
    td_error = q_values - td_target
    return td_error.square(), 2 * td_error


def _with_derivative(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The loss with its derivative by autograd."""

    def both(outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = outputs.detach().requires_grad_()
            losses = loss(leaf, target)
            (derivative,) = torch.autograd.grad(losses.sum(), leaf)
        return losses.detach(), derivative

    return both


def _absolute(q_values: Tensor, td_target: Tensor) -> Tensor:
    return (q_values - td_target).abs()
