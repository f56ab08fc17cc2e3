"""The Q-network: a plain sequence of layers from raw observations to Q-values, assembled as inputs, body and head.

All preprocessing is a layer, so that the exported graph takes observations as the environment gives them.
"""

from collections import OrderedDict

import torch
from torch import nn

from models.manifest import BoxSpace, DiscreteSpace
from training.config import DQNConfig
from training.experience.environments import observation_dtype, observation_shape
from training.learning.convolution import convolutions, largest_value, looks_like_image
from training.learning.layers import BoxScale, OneHot, PixelScale

Layers = OrderedDict[str, nn.Module]
"""Named layers, in the order in which they are applied."""


def make_q_network(config: DQNConfig, space: BoxSpace | DiscreteSpace, n_actions: int) -> nn.Sequential:
    """A network from observations [batch, *observation_shape] to Q-values [batch, n_actions]; its last layer has that
    name.
    """
    convolves = config.network == "conv" or (config.network == "auto" and looks_like_image(space))
    layers, width = convolutions(config, space) if convolves else _inputs(config, space)
    body, width = _body(config, width)
    return nn.Sequential(layers | body | _head(width, n_actions))


def _inputs(config: DQNConfig, space: BoxSpace | DiscreteSpace) -> tuple[Layers, int]:
    """Observations to float32 [batch, width], and that width."""
    if isinstance(space, DiscreteSpace):
        return Layers(one_hot=OneHot(space.n, space.start)), space.n
    layers, shape = Layers(), observation_shape(space)
    if observation_dtype(space) == "uint8":
        layers["scale"] = PixelScale(largest_value(space))
    elif config.scale_to_bounds:
        layers["scale"] = _box_scale(space)
    if len(shape) > 1:
        layers["flatten"] = nn.Flatten()
    return layers, torch.Size(shape).numel()


def _box_scale(space: BoxSpace) -> BoxScale:
    """The layer that brings each element with finite bounds to -1..1 and leaves the others."""
    shape = observation_shape(space)
    bounds = (torch.tensor(bound, dtype=torch.float32) for bound in (space.low, space.high))
    low, high = (bound.reshape(shape) if bound.ndim else bound.expand(shape) for bound in bounds)
    bounded = (high - low).isfinite() & (high > low)
    return BoxScale(torch.where(bounded, low, -1.0), torch.where(bounded, high, 1.0))


def _body(config: DQNConfig, width: int) -> tuple[Layers, int]:
    """The hidden layers [batch, width] -> [batch, last width], and that last width."""
    layers = Layers()
    for index, size in enumerate(config.hidden_sizes, start=1):
        layers[f"linear_{index}"] = nn.Linear(width, size)
        if config.layer_norm:
            layers[f"norm_{index}"] = nn.LayerNorm(size)
        layers[f"relu_{index}"] = nn.ReLU()
        width = size
    return layers, width


def _head(width: int, n_actions: int) -> Layers:
    """Features [batch, width] to Q-values [batch, n_actions]."""
    return Layers(q_values=nn.Linear(width, n_actions))
