"""Indicators of a collapse that the TD loss does not show: the contents of replay, and the Q-values of fixed states.

A policy that stops failing fills replay with successes. The network then forgets what failure looks like, the values
of its actions converge, and the policy collapses while the loss stays small; docs/collapse.png shows such a run.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dqn_training.checkpoint.values import State, Stateful
from dqn_training.networks.leaves import Inputs, to_tensors
from dqn_training.networks.noisy import mean_weights
from dqn_training.networks.q_network import device_of
from dqn_training.replay.source import Experience

PROBES = 256
RARE = 0.2
SHRUNK = 0.5
_DORMANT = 0.025


class Health(NamedTuple):
    """The indicators after `env_steps` environment steps."""

    env_steps: int
    terminal_share: float  # fraction of the transitions in replay in which the episode terminated
    action_gap: float  # mean over the probe states of the best Q-value minus the second best (and over branches)
    largest_q: float  # largest absolute Q-value in the probe states
    dormant_share: float  # fraction of hidden units below 2.5 % of their layer's mean activation (Sokar et al., 2023)


class CollapseMonitor(Stateful):
    """Evaluates the network on fixed probe states, sampled from replay at the first call."""

    _state = ("history", "_probes")

    def __init__(self) -> None:
        self.history: list[Health] = []
        self._probes: NDArray[Any] | None = None

    def record(self, env_steps: int, network: nn.Sequential, replay: Experience) -> Health:
        """Adds the current indicators to the history; the first call selects the probe states.

        Uses no random numbers and does not modify its arguments.
        """
        if self._probes is None:
            seen = replay.observations()
            self._probes = seen[np.linspace(0, len(seen) - 1, min(PROBES, len(seen))).astype(np.int64)]
        with mean_weights(network), torch.no_grad():
            q_values, dormant_share = _evaluate_probes(network, to_tensors(self._probes, device_of(network)))
        health = Health(
            env_steps=env_steps,
            terminal_share=replay.terminal_fraction(),
            action_gap=_action_gap(q_values, getattr(network[-1], "branches", ())),
            largest_q=float(q_values.abs().max()),
            dormant_share=dormant_share,
        )
        self.history.append(health)
        return health

    def load_state_dict(self, state: State) -> None:
        """Restores a saved state, in which tuples are lists."""
        super().load_state_dict(state)
        self.history = [Health(*values) for values in self.history]


def warning(history: Sequence[Health]) -> str | None:
    """A warning if a collapse is likely: terminations have become rare in replay, and the action gap has shrunk."""
    if not history:
        return None
    latest = history[-1]
    highest = max(health.terminal_share for health in history)
    widest = max(health.action_gap for health in history)
    if highest == 0 or latest.terminal_share > RARE * highest or latest.action_gap > SHRUNK * widest:
        return None
    return (
        f"A collapse is likely: only {latest.terminal_share:.2%} of the transitions in replay end in a termination, "
        f"down from {highest:.2%}, and the action gap has shrunk from {widest:.3g} to {latest.action_gap:.3g}. The "
        "best policy so far is kept. A larger replay_capacity or n_step, layer_norm, or early stopping by stop_return "
        "helps."
    )


def _action_gap(q_values: Tensor, branches: tuple[int, ...]) -> float:
    """How much the best Q-value exceeds the second best, on average; of each branch, if there are any."""
    groups = torch.split(q_values, list(branches), dim=1) if branches else (q_values,)
    best = [group.topk(min(2, group.shape[1]), dim=1).values for group in groups]
    return float(torch.stack([values[:, 0] - values[:, -1] for values in best]).mean())


def _evaluate_probes(network: nn.Sequential, observations: Inputs) -> tuple[Tensor, float]:
    """Q-values [batch, n_actions], and the fraction of dormant units among those followed by a ReLU."""
    values: Any = observations
    dormant, units = 0, 0
    for layer in network:
        values = layer(values)
        if isinstance(layer, nn.ReLU):
            activation = values.mean(dim=0).ravel()
            dormant += int((activation <= _DORMANT * activation.mean()).sum())
            units += activation.numel()
    return values, dormant / units if units else 0.0
