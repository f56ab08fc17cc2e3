"""The Q-network: a plain sequence of layers from raw observations to Q-values, with encoders, body and head.

All preprocessing is in layers, so that the exported graph takes observations as the environment returns them.
"""

import dataclasses
from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import nn

from dqn_models.spaces import (
    ActionSpace,
    BoxSpace,
    CompositeSpace,
    DiscreteSpace,
    LeafSpace,
    MultiDiscreteSpace,
    ObservationSpace,
)
from dqn_training.config import DQNConfig
from dqn_training.networks.branching import BranchingHead, Streams
from dqn_training.networks.encoders import Column, ManyHot, OneHot, PixelScale, convolutions, looks_like_image
from dqn_training.networks.heads import CategoricalMean, DuelingHead, QuantileMean
from dqn_training.networks.indexed import Index, IndexedLinear, IndexedNoisyLinear, Indices, SummedLinear
from dqn_training.networks.leaves import LeafEncoders
from dqn_training.networks.noisy import NoisyLinear
from dqn_training.networks.normalize import Normalize

Layers = OrderedDict[str, nn.Module]
"""Named layers in order of application."""
_MOST_ONE_HOT = 128
"""Maximum number of integers that become one-hot rows; more index the first layer's weights, which is faster."""
_MOST_WITHOUT_EMBEDDING = 512
"""The same limit if they would index an embedding's weights, which makes a different network."""
_EMBEDDING = 64
"""Features of a leaf with more integers, if it is one of several leaves or has several components."""


class Features(NamedTuple):
    """The input of a layer: features [batch, width], or indices [batch] that represent one-hot rows."""

    width: int
    indexed: bool = False


def make_q_network(config: DQNConfig, space: ObservationSpace, actions: ActionSpace) -> nn.Sequential:
    """A network from observations, one tensor or one per leaf (leaves.py), to Q-values [batch, actions.n].

    Its last layer is called `q_values`. With a distribution that layer only computes means of the preceding logits or
    quantiles [batch, n_actions, atoms].
    """
    layers, features = _leaves(config, space) if isinstance(space, CompositeSpace) else _encoder(config, space)
    sizes = config.hidden_sizes[:-1] if config.dueling else config.hidden_sizes
    body = _hidden(config, features, sizes)
    return nn.Sequential(layers | body | _head(config, Features(sizes[-1]) if sizes else features, actions))


def choose_device(config: DQNConfig, network: nn.Module) -> torch.device:
    """The device for a network.

    `auto` selects a GPU only for convolutions: an operation of a small multilayer perceptron takes less time on the CPU
    than its launch on a GPU.
    """
    if config.device != "auto":
        return torch.device(config.device)
    convolutional = any(isinstance(layer, nn.Conv2d) for layer in network.modules())
    return torch.device("cuda" if convolutional and torch.cuda.is_available() else "cpu")


def device_of(network: nn.Module) -> torch.device:
    """The device of a network's parameters."""
    return next(network.parameters()).device


def _leaves(config: DQNConfig, space: CompositeSpace) -> tuple[Layers, Features]:
    """Encoders for observations with several leaves, and their joint features.

    Raises ValueError if convolutions are requested but no leaf looks like an image.
    """
    images = [leaf for leaf in space.leaves if looks_like_image(leaf.space)]
    if config.network == "conv" and not images:
        raise ValueError(f"network is 'conv', but no part of an observation is an image: {space.describe()}.")
    branches, widths = [], []
    for leaf in space.leaves:
        kind = "mlp" if leaf not in images else config.network
        layers, features = _encoder(dataclasses.replace(config, network=kind), leaf.space, _MOST_WITHOUT_EMBEDDING)
        if features.indexed:
            layers["embedding"], features = IndexedLinear(features.width, _EMBEDDING), Features(_EMBEDDING)
        branches.append(nn.Sequential(layers))
        widths.append(features.width)
    encoders = LeafEncoders(branches, widths, [leaf.input_name for leaf in space.leaves])
    return Layers(leaves=encoders), Features(sum(widths))


def _encoder(config: DQNConfig, space: LeafSpace, most_one_hot: int = _MOST_ONE_HOT) -> tuple[Layers, Features]:
    """The encoder for observations that fit in one tensor, and its features."""
    if config.network == "conv" or (config.network == "auto" and looks_like_image(space)):
        layers, width = convolutions(config, space)
        return layers, Features(width)
    if isinstance(space, DiscreteSpace) and space.n > most_one_hot:
        return Layers(index=Index(space.n, space.start)), Features(space.n, indexed=True)
    if isinstance(space, DiscreteSpace):
        return Layers(one_hot=OneHot(space.n, space.start)), Features(space.n)
    if isinstance(space, MultiDiscreteSpace):
        return _components(space)
    layers, shape = Layers(), space.tensor_shape
    if space.tensor_dtype == "uint8":
        layers["scale"] = PixelScale(getattr(space, "largest", 1.0))
    if len(shape) != 1:
        layers["flatten"] = nn.Flatten() if shape else Column()
    if config.normalize and isinstance(space, BoxSpace):
        layers["normalize"] = Normalize(space.size)
    return layers, Features(space.size)


def _components(space: MultiDiscreteSpace) -> tuple[Layers, Features]:
    """The encoder for integers with several components, and its features."""
    count = sum(space.nvec)
    layers = Layers(indices=Indices(space.nvec, space.starts))
    if count <= _MOST_WITHOUT_EMBEDDING:
        return layers | Layers(many_hot=ManyHot(count)), Features(count)
    return layers | Layers(embedding=SummedLinear(count, _EMBEDDING)), Features(_EMBEDDING)


def _hidden(config: DQNConfig, features: Features, sizes: tuple[int, ...]) -> Layers:
    """Hidden layers from features to [batch, last size]."""
    layers = Layers()
    for index, size in enumerate(sizes, start=1):
        layers[f"linear_{index}"] = _linear(config, features, size)
        if config.layer_norm:
            layers[f"norm_{index}"] = nn.LayerNorm(size)
        layers[f"relu_{index}"] = nn.ReLU()
        features = Features(size)
    return layers


def _head(config: DQNConfig, features: Features, actions: ActionSpace) -> Layers:
    """Features to Q-values [batch, actions.n], via their distribution if there is one."""
    if actions.branches:
        return Layers(q_values=_branches(config, features, actions.branches))
    if config.distribution == "none":
        return Layers(q_values=_outputs(config, features, (actions.n,)))
    outputs = _outputs(config, features, (actions.n, config.atoms))
    if config.distribution == "quantile":
        return Layers(quantiles=outputs, q_values=QuantileMean())
    return Layers(logits=outputs, q_values=CategoricalMean(config.v_min, config.v_max, config.atoms))


def _outputs(config: DQNConfig, features: Features, shape: tuple[int, ...]) -> nn.Module:
    """Features to [batch, *shape]."""
    count = torch.Size(shape).numel()
    if config.dueling:
        return DuelingHead(_stream(config, features, count // shape[0]), _stream(config, features, count), shape)
    linear = _linear(config, features, count)
    return linear if len(shape) == 1 else nn.Sequential(linear, nn.Unflatten(1, shape))


def _branches(config: DQNConfig, features: Features, branches: tuple[int, ...]) -> BranchingHead:
    """Features to [batch, sum of the branches]; in a dueling network the streams have their own hidden layers."""
    count = sum(branches)
    if config.dueling:
        return BranchingHead(Streams(_stream(config, features, 1), _stream(config, features, count)), branches)
    return BranchingHead(_linear(config, features, 1 + count), branches)


def _stream(config: DQNConfig, features: Features, outputs: int) -> nn.Sequential:
    """A hidden layer of the last hidden size, followed by outputs [batch, outputs]."""
    size = config.hidden_sizes[-1]
    return nn.Sequential(_hidden(config, features, (size,)) | {"output": _linear(config, Features(size), outputs)})


def _linear(config: DQNConfig, features: Features, outputs: int) -> nn.Module:
    if config.noisy:
        noisy = IndexedNoisyLinear if features.indexed else NoisyLinear
        return noisy(features.width, outputs, config.noisy_sigma)
    return (IndexedLinear if features.indexed else nn.Linear)(features.width, outputs)
