"""Targets for the outputs of the actions taken.

Outputs here are those of one action per transition: [batch] for mean returns, [batch, atoms] for distributions.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Target = Callable[[Tensor, Tensor, Tensor], Tensor]
"""returns [batch], discounts [batch], outputs for the next observations -> target, in the shape of the outputs."""


def mean_target(returns: Tensor, discounts: Tensor, next_values: Tensor) -> Tensor:
    """td_target = return + discount * value of the next observation."""
    return returns + discounts * next_values


def categorical_target(values: Tensor, returns: Tensor, discounts: Tensor, next_logits: Tensor) -> Tensor:
    """Probabilities [batch, atoms] on the fixed, evenly spaced `values` [atoms] (Bellemare et al., 2017, algorithm 1).

    Each shifted value, return + discount * z, lies between two fixed ones, and its probability is split between them in
    proportion to proximity.
    """
    low, high, last = values[0], values[-1], len(values) - 1
    moved = (returns.unsqueeze(1) + discounts.unsqueeze(1) * values).clamp(low, high)
    position = ((moved - low) * (last / (high - low))).clamp(0, last)
    below = position.floor()
    fraction_above = position - below
    below_index = below.long()
    above_index = (below_index + 1).clamp(max=last)
    probabilities = next_logits.softmax(dim=1)
    projected = torch.zeros_like(probabilities)
    projected.scatter_add_(1, below_index, probabilities * (1 - fraction_above))
    return projected.scatter_add_(1, above_index, probabilities * fraction_above)


def quantile_target(returns: Tensor, discounts: Tensor, next_quantiles: Tensor) -> Tensor:
    """The next quantiles [batch, atoms], discounted and shifted by the return."""
    return returns.unsqueeze(1) + discounts.unsqueeze(1) * next_quantiles


def lambda_returns(
    rewards: NDArray[np.float32],
    next_values: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    ended: NDArray[np.bool_],
    gamma: float,
    q_lambda: float,
) -> NDArray[np.float32]:
    """Q(lambda) returns [steps, num_envs] from arrays of that shape (Peng & Williams, 1996; Gallici et al., 2024).

    G_t = r_t + gamma ((1 - lambda) max_a Q(s_t+1, a) + lambda G_t+1). The return of a terminated step is its reward.
    Truncated steps and the last one bootstrap from the value of the observation that actually followed, because a time
    limit says nothing about future rewards.
    """
    returns = np.empty_like(rewards)
    following = next_values[-1]
    for step in range(len(rewards) - 1, -1, -1):
        mixed = (1 - q_lambda) * next_values[step] + q_lambda * following
        future = np.where(ended[step], next_values[step], mixed)
        following = returns[step] = rewards[step] + gamma * np.where(terminated[step], 0, future)
    return returns
