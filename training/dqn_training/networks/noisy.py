"""Exploration by noise in the weights: noisy layers, and their noise, drawn for all layers at once."""

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from dqn_training.checkpoint.values import Stateful


class NoisyLinear(nn.Module):
    """A linear layer with learned, factorized noise in its weights (Fortunato et al., 2018).

    In evaluation mode it uses its mean weights.
    """

    def __init__(self, inputs: int, outputs: int, sigma: float) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        self.weight_sigma = nn.Parameter(torch.full((outputs, inputs), sigma * bound))
        self.bias_sigma = nn.Parameter(torch.full((outputs,), sigma * bound))
        self.input_noise: Tensor = torch.zeros(inputs)  # f(epsilon_i) of the paper, f(x) = sign(x) sqrt(|x|)
        self.output_noise: Tensor = torch.zeros(outputs)  # f(epsilon_j)

    def forward(self, features: Tensor) -> Tensor:
        """[batch, inputs] -> [batch, outputs]."""
        if not self.training:
            return functional.linear(features, self.weight, self.bias)
        noise = torch.outer(self.output_noise, self.input_noise)
        weight = torch.addcmul(self.weight, self.weight_sigma, noise)
        bias = torch.addcmul(self.bias, self.bias_sigma, self.output_noise)
        return functional.linear(features, weight, bias)


class Noise(Stateful):
    """Factorized Gaussian noise for all noisy layers of a network, as views of one flat tensor."""

    _state = ("values",)  # the generator is saved by its owner

    def __init__(self, network: nn.Module, generator: torch.Generator) -> None:
        """Draws the first noise. The generator is on the CPU, so that noise is the same on every device."""
        layers = [layer for layer in network.modules() if isinstance(layer, NoisyLinear)]
        sizes = [size for layer in layers for size in (layer.weight.shape[1], layer.weight.shape[0])]
        self.values = torch.zeros(sum(sizes), device=next(network.parameters()).device)
        self._generator = generator
        views = iter(torch.split(self.values, sizes))
        for layer in layers:
            layer.input_noise, layer.output_noise = next(views), next(views)
        self.draw()

    def draw(self) -> None:
        """Draws new noise for every layer: sign(x) sqrt(|x|) of standard normal x."""
        normal = torch.randn(len(self.values), generator=self._generator)
        self.values.copy_(normal.sign() * normal.abs().sqrt_())


@contextlib.contextmanager
def mean_weights(network: nn.Module) -> Iterator[None]:
    """Makes noisy layers use their mean weights within the block, as the exported policy does."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
