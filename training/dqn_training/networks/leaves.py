"""Observations with several leaves: each leaf is encoded separately, and their features are concatenated."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Inputs = Tensor | tuple[Tensor, ...]
"""A batch of observations as a network takes it: one tensor, or one per leaf."""


class LeafEncoders(nn.Module):
    """One branch of layers per leaf, from its values [batch, ...] to features [batch, width]."""

    def __init__(self, branches: Sequence[nn.Sequential], widths: Sequence[int], input_names: Sequence[str]) -> None:
        """`input_names` are the input names of the exported graph."""
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.widths = list(widths)
        self.input_names = list(input_names)

    def forward(self, leaves: tuple[Tensor, ...]) -> Tensor:
        """The features of all leaves, [batch, sum of the widths]."""
        return torch.cat([branch(leaf) for branch, leaf in zip(self.branches, leaves, strict=True)], dim=1)


def to_tensors(observations: NDArray[Any], device: torch.device) -> Inputs:
    """Observations [batch, ...] as a network takes them; a structured array becomes one tensor per field."""
    names = observations.dtype.names
    if names is None:
        return torch.from_numpy(observations).to(device)
    return tuple(torch.from_numpy(np.ascontiguousarray(observations[name])).to(device) for name in names)
