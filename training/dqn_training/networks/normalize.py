"""Normalised numbers: a layer with the mean and deviation of what was seen before learning began, which the graph has.

They stay as they are from then on, so that the values learned keep their meaning, and a policy that is published later
has the statistics with which it was trained.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dqn_training.checkpoint.values import Stateful
from dqn_training.networks.leaves import Inputs

LIMIT = 10.0
"""Deviations from the mean, beyond which a number counts as that far."""
_SMALLEST = 1e-8  # of a deviation; what does not vary is only moved


class Normalize(nn.Module):
    """Numbers [batch, width] to their distance from the mean in deviations."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        """Changes nothing at first."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def forward(self, numbers: Tensor) -> Tensor:
        """The normalized numbers, from -10 to 10."""
        return ((numbers - self.mean) * self.scale).clamp(-LIMIT, LIMIT)


class Statistics(Stateful):
    """The statistics of all such layers of a network and its copies, in one flat tensor of which theirs are views."""

    _state = ("values",)

    def __init__(self, network: nn.Module, copies: Sequence[nn.Module]) -> None:
        """Starts with those of the network, which a warm start brings."""
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
        """Takes the statistics of these observations."""
        layers = [layer for layer in self._network.modules() if isinstance(layer, Normalize)]
        hooks = [layer.register_forward_pre_hook(_take) for layer in layers]
        try:
            if hooks:
                self._network(observations)
        finally:
            for hook in hooks:
                hook.remove()


def _take(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    assert isinstance(layer, Normalize)  # noqa: S101  (no other layer has this hook)
    deviation, mean = torch.std_mean(inputs[0].double(), dim=0, correction=0)
    layer.mean.copy_(mean)
    layer.scale.copy_(torch.where(deviation > _SMALLEST, 1 / deviation, 1.0))
