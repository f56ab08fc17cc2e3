"""What the network's outputs for the actions taken are moved towards, and how far off they are.

Outputs here are those of one action in each transition: [batch] for mean returns, [batch, atoms] for distributions.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dqn_training.config import DQNConfig
from dqn_training.networks.heads import CategoricalMean

_TINY = 1e-30


class Objective(NamedTuple):
    """A kind of target with its loss."""

    target: Callable[[Tensor, Tensor, Tensor], Tensor]
    """returns [batch], discounts [batch], outputs for the next observations -> target, shaped as the outputs."""
    loss: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    """outputs, target -> the loss of each transition [batch], and its derivative by the outputs, shaped as they are."""
    error: Callable[[Tensor, Tensor], Tensor] | None
    """outputs, target -> how surprising each transition is [batch]: its priority in replay. None: its loss says it."""


def make_objective(config: DQNConfig, q_network: nn.Sequential) -> Objective:
    """The objective of a configuration, for a network that was made for it."""
    if config.distribution == "c51":
        head = q_network[-1]
        assert isinstance(head, CategoricalMean)  # noqa: S101  (make_q_network put it there)
        return Objective(partial(categorical_target, head.values), categorical_loss, None)
    if config.distribution == "quantile":
        return Objective(quantile_target, quantile_loss, None)
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


def categorical_loss(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Kullback-Leibler divergence of the learned from the target distribution, and its derivative by the logits.

    Both are [batch, atoms], the target as probabilities.
    """
    learned = logits.log_softmax(dim=1)
    log_target = target.clamp(min=_TINY).log()  # where the target is 0, so is the product
    return (target * (log_target - learned)).sum(dim=1), learned.exp() - target


def quantile_target(returns: Tensor, discounts: Tensor, next_quantiles: Tensor) -> Tensor:
    """Every next quantile [batch, atoms], discounted and moved by the return."""
    return returns.unsqueeze(1) + discounts.unsqueeze(1) * next_quantiles


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


def _absolute(q_values: Tensor, td_target: Tensor) -> Tensor:
    return (q_values - td_target).abs()
