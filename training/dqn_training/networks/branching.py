"""The head of actions that branch: a state value that all components share, and advantages of each one's values."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class BranchingHead(nn.Module):
    """v + a - mean(a), the mean over the values of each component (Tavakoli et al., 2018, equation 1)."""

    def __init__(self, value: nn.Sequential, advantage: nn.Sequential, branches: tuple[int, ...]) -> None:
        """`branches` are how many values each component has; the streams end with a linear layer each."""
        super().__init__()
        self.value = value
        self.advantage = advantage
        self.branches = branches
        self._owners: Tensor
        self._shares: Tensor
        owners = np.repeat(np.arange(len(branches)), branches)
        shares = (owners == np.arange(len(branches))[:, np.newaxis]) / np.array(branches)[:, np.newaxis]
        self.register_buffer("_owners", torch.tensor(owners), persistent=False)
        self.register_buffer("_shares", torch.tensor(shares, dtype=torch.float32), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """[batch, width] -> [batch, sum of the branches]."""
        value: Tensor = self.value(features)
        return value + self.centred(self.advantage(features))

    def centred(self, rows: Tensor) -> Tensor:
        """Rows [batch, sum of the branches], from each of which the mean of its branch is taken."""
        return rows - nn.functional.linear(rows, self._shares).index_select(1, self._owners)

    def centred_advantage(self) -> nn.Sequential:
        """The stream of advantages with a last layer whose outputs have that mean 0; in a graph it takes no time."""
        stream = copy.deepcopy(self.advantage)
        last: Any = stream[-1]
        with torch.no_grad():
            last.weight.copy_(self.centred(last.weight.t()).t())
            last.bias.copy_(self.centred(last.bias.unsqueeze(0)).squeeze(0))
        return stream
