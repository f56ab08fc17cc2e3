"""The Q-network: a plain sequence of layers from raw observations to Q-values.

All preprocessing is a layer, so that the exported graph takes observations as the environment gives them. Every layer
type used here has its ONNX counterpart in training/artifact/export.py.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from models.manifest import BoxSpace, DiscreteSpace
from training.config import DQNConfig
from training.experience.environments import observation_dtype, observation_shape


class OneHot(nn.Module):
    """Integers [batch] from `start` to `start + n - 1` to float32 [batch, n]."""

    def __init__(self, n: int, start: int) -> None:
        super().__init__()
        self.n = n
        self.start = start

    def forward(self, observations: Tensor) -> Tensor:
        """One-hot rows."""
        return nn.functional.one_hot(observations - self.start, self.n).to(torch.float32)


class PixelScale(nn.Module):
    """uint8 0..255 to float32 0..1."""

    def forward(self, observations: Tensor) -> Tensor:
        """Scaled pixels, the shape kept."""
        return observations.to(torch.float32) * (1 / 255)


def make_q_network(config: DQNConfig, space: BoxSpace | DiscreteSpace, n_actions: int) -> nn.Sequential:
    """A multilayer perceptron from observations [batch, *observation_shape] to Q-values [batch, n_actions]."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if isinstance(space, DiscreteSpace):
        layers["one_hot"] = OneHot(space.n, space.start)
        width = space.n
    else:
        shape = observation_shape(space)
        if observation_dtype(space) == "uint8":
            layers["scale"] = PixelScale()
        if len(shape) > 1:
            layers["flatten"] = nn.Flatten()
        width = torch.Size(shape).numel()
    for index, size in enumerate(config.hidden_sizes, start=1):
        layers[f"linear_{index}"] = nn.Linear(width, size)
        if config.layer_norm:
            layers[f"norm_{index}"] = nn.LayerNorm(size)
        layers[f"relu_{index}"] = nn.ReLU()
        width = size
    layers["q_values"] = nn.Linear(width, n_actions)
    return nn.Sequential(layers)


def flatten_parameters(network: nn.Module) -> nn.Parameter:
    """Moves all parameters and their gradients into one flat tensor, of which they become views.

    The optimiser, the clipping and the target update then are one operation each instead of one per layer.
    """
    parameters = list(network.parameters())
    flat = nn.Parameter(torch.cat([parameter.detach().ravel() for parameter in parameters]))
    flat.grad = torch.zeros_like(flat)
    offset = 0
    for parameter in parameters:
        end = offset + parameter.numel()
        parameter.data = flat.data[offset:end].view_as(parameter)
        parameter.grad = flat.grad[offset:end].view_as(parameter)
        offset = end
    return flat
