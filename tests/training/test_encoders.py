"""Images: which observations count as images, the order of their dimensions, and what the convolutions see."""

from typing import Any

import numpy as np
import pytest
import torch

from dqn_models.spaces import BoxSpace
from dqn_training.config import DQNConfig
from dqn_training.networks.encoders import convolutions, looks_like_image


def space(*shape: int, dtype: str = "uint8", high: float = 255) -> BoxSpace:
    """A Box of this shape."""
    return BoxSpace(shape=list(shape), dtype=dtype, low=0, high=high)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (space(84, 84), True),
        (space(210, 160, 3), True),
        (space(4, 84, 84), True),
        (space(2, 10, 10, 4, dtype="bool", high=1), True),
        (space(10, 10, 4, dtype="bool", high=1), True),
        (space(16, 16, 3, dtype="float32", high=1), True),
        (space(10, 10, dtype="float32"), False),
        (space(128), False),
        (space(2, 3), False),
        (space(7, 7, 3), False),
    ],
)
def test_images_are_distinguished_from_tables(found: BoxSpace, *, expected: bool) -> None:
    """Three or four dimensions, or two of bytes, with sides of at least 8, are an image."""
    assert looks_like_image(found) == expected


@pytest.mark.parametrize(
    ("shape", "channels_of"),
    [
        ((9, 11), lambda image: image[None]),
        ((9, 11, 3), lambda image: np.moveaxis(image, -1, 0)),
        ((3, 9, 11), lambda image: image),
        ((2, 9, 11, 3), lambda image: np.moveaxis(image, -1, 1).reshape(6, 9, 11)),
        ((2, 3, 9, 11), lambda image: image.reshape(6, 9, 11)),
    ],
)
def test_planes_hold_the_channels_of_the_image(shape: tuple[int, ...], channels_of: Any) -> None:
    """Whatever the order of dimensions and stacks, each channel becomes one plane of height x width, scaled to 0..1."""
    layers, width = convolutions(DQNConfig(), space(*shape))
    images = np.random.default_rng(0).integers(0, 256, (5, *shape), np.uint8)
    planes = layers["scale"](layers["planes"](torch.from_numpy(images)))
    assert planes.shape[2:] == (9, 11)
    for image, found in zip(images, planes.numpy(), strict=True):
        np.testing.assert_allclose(found, channels_of(image) / 255, rtol=1e-6)
    assert torch.nn.Sequential(layers)(torch.from_numpy(images)).shape == (5, width)


def test_bits_are_not_divided_by_255() -> None:
    """An image of booleans has a 1 where it is true."""
    layers, _ = convolutions(DQNConfig(), space(10, 10, 4, dtype="bool", high=1))
    assert layers["scale"](torch.ones(1, 4, 10, 10, dtype=torch.uint8)).max() == 1


def test_large_images_get_the_network_of_mnih() -> None:
    """84 x 84 pixels in four planes give 64 x 7 x 7 features; conv_layers changes that."""
    assert convolutions(DQNConfig(), space(4, 84, 84))[1] == 64 * 7 * 7
    assert convolutions(DQNConfig(conv_layers=("8x8x8",)), space(4, 84, 84))[1] == 8 * 10 * 10


def test_what_does_not_fit_is_refused_with_a_sentence() -> None:
    """Convolutions for a vector, larger than the image, or malformed."""
    with pytest.raises(ValueError, match=r"network is 'conv', but an observation has the shape \[4\]"):
        convolutions(DQNConfig(network="conv"), space(4))
    with pytest.raises(ValueError, match="conv_layers: 64x4x2 does not fit the 3 x 3 values before it"):
        convolutions(DQNConfig(conv_layers=("32x8x6", "64x4x2")), space(20, 20, 3))
    with pytest.raises(ValueError, match="conv_layers has '32x8'; expected FILTERSxKERNELxSTRIDE"):
        DQNConfig(conv_layers=("32x8",))
