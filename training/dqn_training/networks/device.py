"""Where a network computes."""

import torch
from torch import nn

from dqn_training.config import DQNConfig


def check_device(config: DQNConfig) -> None:
    """Raises ValueError with a sentence when a GPU is asked for and there is none."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device is 'cuda', but torch {torch.__version__} finds no CUDA device on this machine; use auto or cpu."
        )


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
