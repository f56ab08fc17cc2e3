"""Layers that PyTorch lacks. Every layer type of a Q-network has its ONNX counterpart in training/artifact/nodes.py."""

from torch import Tensor, nn
from torch.nn import functional


class OneHot(nn.Module):
    """Integers [batch] from `start` to `start + n - 1` to float32 [batch, n]."""

    def __init__(self, n: int, start: int) -> None:
        super().__init__()
        self.n = n
        self.start = start

    def forward(self, observations: Tensor) -> Tensor:
        """One-hot rows."""
        return functional.one_hot(observations - self.start, self.n).float()


class PixelScale(nn.Module):
    """uint8 0..255 to float32 0..1."""

    def forward(self, observations: Tensor) -> Tensor:
        """Scaled pixels, the shape kept."""
        return observations.float() * (1 / 255)
