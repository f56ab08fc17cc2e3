"""Encoders: layers from raw observations to features, each with its ONNX counterpart in dqn_training/export/nodes.py.

Images are rearranged to planes [batch, channels, height, width] inside the network, so that the exported graph takes
them as the environment returns them: height x width, height x width x channels, channels x height x width, and stacks.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from dqn_models.spaces import BoxSpace, LeafSpace, MultiBinarySpace
from dqn_training.config import DQNConfig

_SMALLEST_SIDE = 8
"""Minimum height and width in pixels; smaller arrays are treated as features."""
_NATURE_SIDE = 36
"""The smallest height and width that the three convolutions of Mnih et al. (2015) accept."""
_NATURE = ("32x8x4", "64x4x2", "64x3x1")
_SMALL = ("16x3x1",)  # for games such as MinAtar's (Young & Tian, 2019)


def looks_like_image(space: LeafSpace) -> bool:
    """Whether `network` auto uses convolutions: 3 or 4 dimensions, or 2 of bytes, height and width at least 8."""
    shape = space.tensor_shape
    fits = isinstance(space, BoxSpace | MultiBinarySpace) and (
        len(shape) in (3, 4) or (len(shape) == 2 and space.tensor_dtype == "uint8")
    )
    return fits and min(_planes(shape)[1][1:]) >= _SMALLEST_SIDE


def convolutions(config: DQNConfig, space: LeafSpace) -> tuple[OrderedDict[str, nn.Module], int]:
    """Layers from observations to features [batch, width], and that width.

    Raises ValueError if the observations are not images or are too small for the convolutions.
    """
    shape = space.tensor_shape
    if not isinstance(space, BoxSpace | MultiBinarySpace) or len(shape) not in (2, 3, 4):
        raise ValueError(f"network is 'conv', but an observation has the shape {list(shape)}; use 'mlp' or 'auto'.")
    order, (channels, height, width) = _planes(shape)
    layers: OrderedDict[str, nn.Module] = OrderedDict(planes=Planes(order, (channels, height, width)))
    if space.tensor_dtype == "uint8":
        layers["scale"] = PixelScale(space.largest)
    default = _NATURE if min(height, width) >= _NATURE_SIDE else _SMALL
    for index, text in enumerate(config.conv_layers or default, start=1):
        filters, kernel, stride = map(int, text.split("x"))
        layers[f"conv_{index}"] = nn.Conv2d(channels, filters, kernel, stride)
        if min(height, width) < kernel:
            raise ValueError(f"conv_layers: {text} does not fit the {height} x {width} values before it.")
        channels, height, width = filters, (height - kernel) // stride + 1, (width - kernel) // stride + 1
        if config.layer_norm:
            layers[f"conv_norm_{index}"] = nn.LayerNorm([channels, height, width])
        layers[f"conv_relu_{index}"] = nn.ReLU()
    layers["flatten"] = nn.Flatten()
    return layers, channels * height * width


def _planes(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, int, int]]:
    """The permutation of an image's dimensions that puts channels first, and the shape of the planes.

    Channels are the smaller of the first and the last dimension (the last if equal); the first of four is a stack.
    """
    if len(shape) == 2:
        return (0, 1), (1, *shape)
    first = len(shape) - 3
    order = (first + 2, first, first + 1) if shape[-1] <= shape[first] else (first, first + 1, first + 2)
    channels, height, width = (shape[dimension] for dimension in order)
    stack = shape[0] if first else 1
    return (0, *order) if first else order, (stack * channels, height, width)


class OneHot(nn.Module):
    """Integers [batch] from `start` to `start + n - 1` to float32 [batch, n]."""

    def __init__(self, n: int, start: int) -> None:
        super().__init__()
        self.n = n
        self.start = start

    def forward(self, observations: Tensor) -> Tensor:
        """The one-hot rows."""
        return functional.one_hot(observations - self.start, self.n).float()


class ManyHot(nn.Module):
    """Distinct indices [batch, k] to float32 [batch, n], 1 at the indices and 0 elsewhere."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, indices: Tensor) -> Tensor:
        """The rows, one-hot per component."""
        return indices.new_zeros((len(indices), self.n), dtype=torch.float32).scatter_(1, indices, 1.0)


class Column(nn.Module):
    """Scalars [batch] to [batch, 1]."""

    def forward(self, observations: Tensor) -> Tensor:
        """The scalars as a column."""
        return observations.unsqueeze(1)


class Planes(nn.Module):
    """Images [batch, *observation_shape] to planes [batch, channels, height, width] of the same dtype."""

    def __init__(self, order: tuple[int, ...], shape: tuple[int, int, int]) -> None:
        """`order` permutes the observation's dimensions, counted without the batch; `shape` is that of the planes."""
        super().__init__()
        self.order = order
        self.shape = shape

    def forward(self, observations: Tensor) -> Tensor:
        """The planes."""
        ordered = observations.permute(0, *(dimension + 1 for dimension in self.order))
        return ordered.reshape(-1, *self.shape).contiguous()


class PixelScale(nn.Module):
    """uint8 0..largest to float32 0..1."""

    def __init__(self, largest: float = 255.0) -> None:
        super().__init__()
        self.factor = 1 / max(1.0, largest)

    def forward(self, observations: Tensor) -> Tensor:
        """The scaled pixels, in the same shape."""
        return observations.float() * self.factor
