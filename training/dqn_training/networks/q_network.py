"""The Q-network: a plain sequence of layers from raw observations to Q-values, assembled as inputs, body and head.

All preprocessing is a layer, so that the exported graph takes observations as the environment gives them.
"""

from collections import OrderedDict

import torch
from torch import nn

from dqn_models.spaces import BoxSpace, DiscreteSpace
from dqn_training.config import DQNConfig
from dqn_training.networks.encoders import OneHot, PixelScale, convolutions, looks_like_image
from dqn_training.networks.heads import CategoricalMean, DuelingHead, QuantileMean
from dqn_training.networks.noisy import NoisyLinear

Layers = OrderedDict[str, nn.Module]
"""Named layers, in the order in which they are applied."""


def make_q_network(config: DQNConfig, space: BoxSpace | DiscreteSpace, n_actions: int) -> nn.Sequential:
    """A network from observations [batch, *observation_shape] to Q-values [batch, n_actions].

    Its last layer is called `q_values`. With a distribution that layer only takes means, and what comes before it gives
    the distribution's logits or quantiles [batch, n_actions, atoms].
    """
    convolves = config.network == "conv" or (config.network == "auto" and looks_like_image(space))
    layers, width = convolutions(config, space) if convolves else _inputs(space)
    sizes = config.hidden_sizes[:-1] if config.dueling else config.hidden_sizes
    body = _hidden(config, width, sizes)
    return nn.Sequential(layers | body | _head(config, sizes[-1] if sizes else width, n_actions))


def choose_device(config: DQNConfig, network: nn.Module) -> torch.device:
    """The device that the configuration means for a network.

    `auto` is a GPU only for convolutions: each operation of a small multilayer perceptron takes less time on the CPU
    than it takes to start it on a GPU.
    """
    if config.device != "auto":
        return torch.device(config.device)
    convolutional = any(isinstance(layer, nn.Conv2d) for layer in network.modules())
    return torch.device("cuda" if convolutional and torch.cuda.is_available() else "cpu")


def device_of(network: nn.Module) -> torch.device:
    """Where a network's parameters are."""
    return next(network.parameters()).device


def _inputs(space: BoxSpace | DiscreteSpace) -> tuple[Layers, int]:
    """Observations to float32 [batch, width], and that width."""
    if isinstance(space, DiscreteSpace):
        return Layers(one_hot=OneHot(space.n, space.start)), space.n
    layers, shape = Layers(), space.tensor_shape
    if space.tensor_dtype == "uint8":
        layers["scale"] = PixelScale(space.largest)
    if len(shape) > 1:
        layers["flatten"] = nn.Flatten()
    return layers, torch.Size(shape).numel()


def _hidden(config: DQNConfig, width: int, sizes: tuple[int, ...]) -> Layers:
    """Hidden layers [batch, width] -> [batch, last size]."""
    layers = Layers()
    for index, size in enumerate(sizes, start=1):
        layers[f"linear_{index}"] = _linear(config, width, size)
        if config.layer_norm:
            layers[f"norm_{index}"] = nn.LayerNorm(size)
        layers[f"relu_{index}"] = nn.ReLU()
        width = size
    return layers


def _head(config: DQNConfig, width: int, n_actions: int) -> Layers:
    """Features [batch, width] to Q-values [batch, n_actions], by way of their distribution if there is one."""
    if config.distribution == "none":
        return Layers(q_values=_outputs(config, width, (n_actions,)))
    outputs = _outputs(config, width, (n_actions, config.atoms))
    if config.distribution == "quantile":
        return Layers(quantiles=outputs, q_values=QuantileMean())
    return Layers(logits=outputs, q_values=CategoricalMean(config.v_min, config.v_max, config.atoms))


def _outputs(config: DQNConfig, width: int, shape: tuple[int, ...]) -> nn.Module:
    """Features [batch, width] to [batch, *shape]."""
    count = torch.Size(shape).numel()
    if config.dueling:
        return DuelingHead(_stream(config, width, count // shape[0]), _stream(config, width, count), shape)
    linear = _linear(config, width, count)
    return linear if len(shape) == 1 else nn.Sequential(linear, nn.Unflatten(1, shape))


def _stream(config: DQNConfig, width: int, outputs: int) -> nn.Sequential:
    """A hidden layer, of the last hidden size, and its outputs [batch, outputs]."""
    size = config.hidden_sizes[-1]
    return nn.Sequential(_hidden(config, width, (size,)) | {"output": _linear(config, size, outputs)})


def _linear(config: DQNConfig, inputs: int, outputs: int) -> nn.Module:
    return NoisyLinear(inputs, outputs, config.noisy_sigma) if config.noisy else nn.Linear(inputs, outputs)
