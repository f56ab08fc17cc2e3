"""First layers for integers with a large range: they look up rows of their weights instead of taking one-hot rows.

A one-hot batch would need [batch, n] numbers and multiply all but one per row by 0; the look-up computes the same.
Parameters have the names and shapes of the layers for one-hot rows, so that weights are interchangeable.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dqn_training.networks.noisy import NoisyLinear


class Index(nn.Module):
    """Integers [batch] from `start` to `start + n - 1` to indices [batch] from 0 to `n - 1`."""

    def __init__(self, n: int, start: int) -> None:
        super().__init__()
        self.n = n
        self.start = start

    def forward(self, observations: Tensor) -> Tensor:
        """The indices, int64."""
        return observations - self.start


class Indices(nn.Module):
    """Integers with several components [batch, ...], each with `counts` values from its `start` on, to indices
    [batch, k] into the concatenated values of all components.
    """

    counts: Tensor
    starts: Tensor
    offsets: Tensor

    def __init__(self, counts: Sequence[int], starts: Sequence[int]) -> None:
        super().__init__()
        offsets = np.cumsum([0, *counts[:-1]])
        for name, values in {"counts": counts, "starts": starts, "offsets": offsets}.items():
            self.register_buffer(name, torch.as_tensor(np.array(values, np.int64)), persistent=False)

    def forward(self, observations: Tensor) -> Tensor:
        """The indices, int64."""
        return observations.reshape(len(observations), -1) - self.starts + self.offsets


class SummedLinear(nn.Linear):
    """nn.Linear for rows that are 1 at several indices, computed from these indices."""

    def forward(self, indices: Tensor) -> Tensor:
        """[batch, k] -> [batch, outputs]."""
        return picked_rows(self.weight, indices.ravel()).view(*indices.shape, -1).sum(dim=1) + self.bias


class IndexedLinear(nn.Linear):
    """nn.Linear for one-hot rows, computed from their indices."""

    def forward(self, index: Tensor) -> Tensor:
        """[batch] -> [batch, outputs]."""
        return picked_rows(self.weight, index) + self.bias


class IndexedNoisyLinear(NoisyLinear):
    """NoisyLinear for one-hot rows, computed from their indices, with noise only for the selected rows."""

    def forward(self, index: Tensor) -> Tensor:
        """[batch] -> [batch, outputs]."""
        picked = picked_rows(self.weight, index)
        if not self.training:
            return picked + self.bias
        noise = torch.outer(self.input_noise[index], self.output_noise)
        picked = torch.addcmul(picked, picked_rows(self.weight_sigma, index), noise)
        return picked + torch.addcmul(self.bias, self.bias_sigma, self.output_noise)


def picked_rows(weight: Tensor, index: Tensor) -> Tensor:
    """The columns `index` [batch] of `weight` [outputs, inputs], as rows [batch, outputs]."""
    return weight.t().index_select(0, index)
