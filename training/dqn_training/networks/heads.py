"""Heads that are more than a linear layer from features to Q-values. Each has an ONNX counterpart in nodes.py."""

import torch
from torch import Tensor, nn


class DuelingHead(nn.Module):
    """Separate streams for value and advantages: v + a - mean(a) over the actions (Wang et al., 2016)."""

    def __init__(self, value: nn.Sequential, advantage: nn.Sequential, shape: tuple[int, ...]) -> None:
        """`shape` is that of one output row: (n_actions,), or (n_actions, atoms) with distributions."""
        super().__init__()
        self.value = value
        self.advantage = advantage
        self.shape = shape

    def forward(self, features: Tensor) -> Tensor:
        """[batch, width] -> [batch, *shape]."""
        value = self.value(features).view(-1, 1, *self.shape[1:])
        advantage = self.advantage(features).view(-1, *self.shape)
        return value + advantage - advantage.mean(dim=1, keepdim=True)  # type: ignore[no-any-return]


class CategoricalMean(nn.Module):
    """Logits [batch, n_actions, atoms] over fixed values to the mean [batch, n_actions] (Bellemare et al., 2017)."""

    def __init__(self, v_min: float, v_max: float, atoms: int) -> None:
        super().__init__()
        self.values: Tensor
        self.register_buffer("values", torch.linspace(v_min, v_max, atoms), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        """The expected values."""
        return logits.softmax(dim=-1) @ self.values


class QuantileMean(nn.Module):
    """Quantiles [batch, n_actions, atoms] to their mean [batch, n_actions] (Dabney et al., 2018)."""

    def forward(self, quantiles: Tensor) -> Tensor:
        """The expected values."""
        return quantiles.mean(dim=-1)
