"""Checks that the exported graph computes the same as the trained network."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dqn_models.manifest import EnvironmentInfo
from dqn_models.policy import Policy
from dqn_models.spaces import ActionSpace
from dqn_training.networks.leaves import to_tensors
from dqn_training.networks.noisy import mean_weights
from dqn_training.networks.q_network import device_of

OBSERVATIONS = 10_000
TOLERANCE = 1e-4
_BATCH = 1_000
_BATCH_ELEMENTS = 4_000_000  # large observations are checked in smaller batches


class ParityError(RuntimeError):
    """The exported policy and the network disagree, so that nothing is published."""


def check_parity(
    q_network: nn.Sequential,
    policy: Policy,
    environment: EnvironmentInfo,
    seen: NDArray[Any],
    seed: int,
    reward_scale: float = 1.0,
) -> None:
    """Compares Q-values and actions on at least 10,000 observations, half of them from training (`seen`).

    Q-values (the policy's times `reward_scale`) must agree within 1e-4, absolute or relative, and actions must agree
    wherever the gap between the two best Q-values exceeds the tolerance. Raises ParityError with the largest
    difference.
    """
    generator, space = np.random.default_rng(seed), environment.observation_space
    half = max(1, min(_BATCH, _BATCH_ELEMENTS // space.size) // 2)
    with mean_weights(q_network), torch.inference_mode():
        for _ in range(0, OBSERVATIONS, 2 * half):
            own = seen[generator.integers(0, len(seen), half)]
            observations = np.concatenate([own, space.sample(seen, half, generator)])
            _check_batch(q_network, policy, environment.action_space, observations, np.float32(reward_scale))


def _check_batch(
    q_network: nn.Sequential,
    policy: Policy,
    actions: ActionSpace,
    observations: NDArray[Any],
    reward_scale: np.float32,
) -> None:
    expected = q_network(to_tensors(observations, device_of(q_network))).cpu().numpy()
    q_values, chosen = policy.run(observations)
    difference = np.abs(q_values * reward_scale - expected)
    allowed = TOLERANCE * np.maximum(1.0, np.abs(expected))
    if not (difference <= allowed).all():
        raise ParityError(
            f"The exported policy's Q-values differ from the network's by up to {difference.max():.3g}; the tolerance "
            f"is {TOLERANCE:g}, absolute or relative. Nothing was published."
        )
    ranked = np.sort(actions.by_branch(expected, -np.inf), axis=2)  # [batch, branches, values]
    second = ranked[:, :, -2] if ranked.shape[2] > 1 else -np.inf
    clear = ranked[:, :, -1] - second > 2 * allowed.max(axis=1, keepdims=True)
    differ = (chosen != actions.action(actions.best(expected))).reshape(len(chosen), -1)  # component by component
    wrong = (clear & differ).any(axis=1)
    if wrong.any():
        raise ParityError(
            f"The exported policy chooses another action than the network on {wrong.sum()} of {len(wrong)} "
            "observations. Nothing was published."
        )
