"""Layers that PyTorch lacks; each layer type has its ONNX counterpart in dqn_training/export/nodes.py."""

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


class Planes(nn.Module):
    """Images [batch, *observation_shape] to planes [batch, channels, height, width], the dtype kept."""

    def __init__(self, order: tuple[int, ...], shape: tuple[int, int, int]) -> None:
        """`order` is that of the observation's dimensions, counted without the batch; `shape` the planes'."""
        super().__init__()
        self.order = order
        self.shape = shape

    def forward(self, observations: Tensor) -> Tensor:
        """The same values in planes."""
        ordered = observations.permute(0, *(dimension + 1 for dimension in self.order))
        return ordered.reshape(-1, *self.shape).contiguous()


class PixelScale(nn.Module):
    """uint8 0..largest to float32 0..1."""

    def __init__(self, largest: float = 255.0) -> None:
        super().__init__()
        self.factor = 1 / max(1.0, largest)

    def forward(self, observations: Tensor) -> Tensor:
        """Scaled pixels, the shape kept."""
        return observations.float() * self.factor
