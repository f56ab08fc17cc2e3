"""The head for actions that branch: a shared state value, and advantages of each component's values."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Streams(nn.Module):
    """Separate streams for the state value and all advantages; their last layers are linear."""

    def __init__(self, value: nn.Sequential, advantage: nn.Sequential) -> None:
        super().__init__()
        self.value = value
        self.advantage = advantage

    def forward(self, features: Tensor) -> Tensor:
        """[batch, width] -> [batch, 1 + advantages], the value first."""
        return torch.cat((self.value(features), self.advantage(features)), dim=1)


class BranchingHead(nn.Module):
    """Computes v + a - mean(a), with the mean over each component's values (Tavakoli et al., 2018, equation 1).

    This is a linear function of value and advantages, so that the graph has it in the weights of the layer before.
    """

    def __init__(self, outputs: nn.Module, branches: tuple[int, ...]) -> None:
        """`outputs` returns the value and then all advantages; `branches` are the components' numbers of values."""
        super().__init__()
        self.outputs = outputs
        self.branches = branches
        self._is_uniform = len(set(branches)) == 1
        self._owners: Tensor
        self._sizes: Tensor
        self.register_buffer("_owners", torch.tensor(np.repeat(np.arange(len(branches)), branches)), persistent=False)
        self.register_buffer("_sizes", torch.tensor(branches, dtype=torch.float32), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """[batch, width] -> [batch, sum of the branches]."""
        return self.combined(self.outputs(features))

    def combined(self, rows: Tensor) -> Tensor:
        """Value and advantages [batch, 1 + n] to Q-values [batch, n]."""
        return self.centred(rows[:, 1:]).add_(rows[:, :1])

    def gradient(self, by_q_values: Tensor) -> Tensor:
        """The gradient w.r.t. value and advantages [batch, 1 + n], from that w.r.t. the Q-values [batch, n]."""
        return torch.cat((by_q_values.sum(dim=1, keepdim=True), self.centred(by_q_values)), dim=1)

    def centred(self, rows: Tensor) -> Tensor:
        """Rows [batch, n] minus the mean of each branch."""
        if self._is_uniform:
            grouped = rows.unflatten(1, (len(self.branches), -1))  # type: ignore[no-untyped-call]  # torch's
            return (grouped - grouped.mean(dim=2, keepdim=True)).flatten(1)  # type: ignore[no-any-return]
        sums = rows.new_zeros(len(rows), len(self.branches)).index_add_(1, self._owners, rows)
        return rows - sums.div_(self._sizes).index_select(1, self._owners)

    def folded(self) -> tuple[nn.Module, nn.Module | None]:
        """Layers whose outputs are the Q-values, or two streams, the value [batch, 1] and another, that sum to them."""
        if not isinstance(self.outputs, Streams):
            return self._fold(copy.deepcopy(self.outputs), self.combined), None
        advantage = copy.deepcopy(self.outputs.advantage)
        self._fold(advantage[-1], self.centred)
        return advantage, self.outputs.value

    @staticmethod
    def _fold(linear: Any, function: Any) -> nn.Module:
        with torch.no_grad():
            linear.weight = nn.Parameter(function(linear.weight.t()).t().contiguous())
            linear.bias = nn.Parameter(function(linear.bias.unsqueeze(0)).squeeze(0))
        return linear  # type: ignore[no-any-return]


class BranchingGrad:
    """The head with its own backward pass, as fast.py has for other layers."""

    def __init__(self, layer: BranchingHead, outputs: Any) -> None:
        """`outputs` does the backward pass of the layer's `outputs`."""
        self._layer = layer
        self._outputs = outputs

    def forward(self, inputs: Tensor, rows: int | None) -> Tensor:
        """The Q-values [batch, n]."""
        return self._layer.combined(self._outputs.forward(inputs, rows))

    def backward(self, gradient: Tensor) -> Tensor | None:
        """The gradient w.r.t. the features, from that w.r.t. the Q-values, both [rows, ...]."""
        by_inputs: Tensor | None = self._outputs.backward(self._layer.gradient(gradient))
        return by_inputs
