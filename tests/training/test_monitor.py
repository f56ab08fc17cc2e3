"""The collapse monitor records what it says, and warns when it should."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from dqn_training.learning.health import CollapseMonitor, Health, warning
from dqn_training.replay.buffer import ReplayBuffer


class Rows(ReplayBuffer):
    """Observations that a replay buffer might hold."""

    def __init__(self, observations: NDArray[Any], fraction: float) -> None:
        self._rows = observations
        self._fraction = fraction

    def observations(self, _most_bytes: int = 0) -> NDArray[Any]:
        """All of them."""
        return self._rows

    def terminal_fraction(self) -> float:
        """As given."""
        return self._fraction


def network() -> nn.Sequential:
    """Two hidden units, |x| by its two halves, then Q-values 2|x| and |x|."""
    halves, values = nn.Linear(1, 2, bias=False), nn.Linear(2, 2, bias=False)
    halves.weight.data = torch.tensor([[1.0], [-1.0]])
    values.weight.data = torch.tensor([[2.0, 2.0], [1.0, 1.0]])
    return nn.Sequential(halves, nn.ReLU(), values)


def indicators(env_steps: int = 0, share: float = 0.1, gap: float = 1.0) -> Health:
    """The indicators of a healthy network, except for those given."""
    return Health(env_steps, share, gap, largest_q=10.0, dormant_share=0.0)


def test_indicators_are_those_of_the_probe_states() -> None:
    """Gap, largest Q-value and dormant units are those of the first observations, whatever replay holds later."""
    monitor = CollapseMonitor()
    first = Rows(np.array([[1.0], [2.0], [3.0]], np.float32), 0.25)
    health = monitor.record(7, network(), first)
    # For |1|, |2|, |3| the gap is |x| itself; the unit for negative inputs is dormant.
    assert health == Health(7, 0.25, 2.0, 6.0, 0.5)
    later = monitor.record(8, network(), Rows(np.array([[-50.0]], np.float32), 0.0))
    assert later == Health(8, 0.0, 2.0, 6.0, 0.5)


def test_a_restored_monitor_continues() -> None:
    """A restored monitor has the history and the probe states."""
    monitor, restored = CollapseMonitor(), CollapseMonitor()
    monitor.record(7, network(), Rows(np.array([[1.0]], np.float32), 0.25))
    restored.load_state_dict(monitor.state_dict())
    other = Rows(np.array([[9.0]], np.float32), 0.1)
    assert restored.record(8, network(), other) == monitor.record(8, network(), other)
    assert restored.history == monitor.history


@pytest.mark.parametrize(
    ("history", "warns"),
    [
        ([], False),
        ([indicators()], False),
        ([indicators(share=0.0, gap=0.0)], False),
        ([indicators(), indicators(share=0.01)], False),
        ([indicators(), indicators(gap=0.4)], False),
        ([indicators(), indicators(share=0.01, gap=0.4)], True),
        ([indicators(), indicators(share=0.01, gap=0.4), indicators()], False),
    ],
)
def test_warns_when_terminations_are_rare_and_the_gap_has_shrunk(history: list[Health], *, warns: bool) -> None:
    """Neither sign alone is alarming: a good policy rarely fails, and a gap may shrink while values improve."""
    assert (warning(history) is not None) is warns
