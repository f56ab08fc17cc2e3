"""Normalization of continuous features by their mean and standard deviation before the first gradient step.

The statistics are fixed from then on, so that learned values keep their meaning, and are part of the exported graph.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dqn_training.checkpoint.values import Stateful
from dqn_training.networks.leaves import Inputs

LIMIT = 10.0
"""Normalized features are clipped to this many standard deviations."""
_SMALLEST = 1e-8  # standard deviation below which a feature is constant, and only shifted


class Normalize(nn.Module):
    """Normalizes features [batch, width] to zero mean and unit standard deviation."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        """Starts as the identity."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def forward(self, numbers: Tensor) -> Tensor:
        """The normalized features, clipped to [-10, 10]."""
        return ((numbers - self.mean) * self.scale).clamp(-LIMIT, LIMIT)


class Statistics(Stateful):
    """The statistics of all Normalize layers of a network and its copies, as views of one flat tensor."""

    _state = ("values",)

    def __init__(self, network: nn.Module, copies: Sequence[nn.Module]) -> None:
        """Starts with the network's own statistics, which come from a warm start."""
        self._network = network
        layers = [layer for layer in network.modules() if isinstance(layer, Normalize)]
        parts = [part for layer in layers for part in (layer.mean, layer.scale)]
        self.values = torch.cat(parts) if parts else torch.zeros(0)
        views = list(torch.split(self.values, [len(part) for part in parts])) if parts else []
        for each in (network, *copies):
            own = iter(views)
            for layer in each.modules():
                if isinstance(layer, Normalize):
                    layer.mean, layer.scale = next(own), next(own)

    @torch.no_grad()
    def learn(self, observations: Inputs) -> None:
        """Sets the statistics to those of these observations."""
        layers = [layer for layer in self._network.modules() if isinstance(layer, Normalize)]
        hooks = [layer.register_forward_pre_hook(_take) for layer in layers]
        try:
            if hooks:
                self._network(observations)
        finally:
            for hook in hooks:
                hook.remove()


def _take(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    assert isinstance(layer, Normalize)  # noqa: S101  (only these layers have this hook)
    deviation, mean = torch.std_mean(inputs[0].double(), dim=0, correction=0)
    layer.mean.copy_(mean)
    layer.scale.copy_(torch.where(deviation > _SMALLEST, 1 / deviation, 1.0))
