"""Proof that the exported graph computes what the trained network computed."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dqn_models.manifest import BoxSpace, EnvironmentInfo
from dqn_models.policy import Policy
from dqn_training.envs.make import observation_dtype
from dqn_training.networks.device import device_of
from dqn_training.networks.noisy import mean_weights

OBSERVATIONS = 10_000
TOLERANCE = 1e-4
_BOUNDED = 1e4  # a wider bound is as good as none: nobody sees such values
_BATCH = 1_000
_BATCH_ELEMENTS = 4_000_000  # pixels come in smaller batches


class ParityError(RuntimeError):
    """The exported policy and the network differ; nothing is published."""


def check_parity(
    q_network: nn.Sequential, policy: Policy, environment: EnvironmentInfo, seen: NDArray[Any], seed: int
) -> None:
    """Compares Q-values and actions on at least 10,000 observations, half of them from training (`seen`).

    Q-values must agree within 1e-4, absolute or relative, and actions wherever the Q-gap is wider than that. Raises
    ParityError with the worst difference.
    """
    generator = np.random.default_rng(seed)
    half = max(1, min(_BATCH, _BATCH_ELEMENTS // seen[0].size) // 2)
    with mean_weights(q_network), torch.inference_mode():
        for _ in range(0, OBSERVATIONS, 2 * half):
            own = seen[generator.integers(0, len(seen), half)]
            observations = np.concatenate([own, random_observations(environment, seen, half, generator)])
            _check_batch(q_network, policy, environment.action_space.start, observations)


def random_observations(
    environment: EnvironmentInfo, seen: NDArray[Any], count: int, generator: np.random.Generator
) -> NDArray[Any]:
    """Observations [count, *observation_shape] from all over the space; where it has no bounds, wide around `seen`."""
    space = environment.observation_space
    dtype = observation_dtype(space)
    if not isinstance(space, BoxSpace):
        return generator.integers(space.start, space.start + space.n, count, dtype=np.int64)
    shape = tuple(space.shape)
    low, high = (np.broadcast_to(np.reshape(np.array(b), (-1,)), int(np.prod(shape))) for b in (space.low, space.high))
    if dtype == np.uint8:
        return (
            generator.integers(low.astype(int), high.astype(int) + 1, (count, low.size))
            .reshape(count, *shape)
            .astype(dtype)
        )
    bounded = (np.abs(low) <= _BOUNDED) & (np.abs(high) <= _BOUNDED)
    uniform = generator.uniform(np.where(bounded, low, 0), np.where(bounded, high, 1), (count, low.size))
    flat = seen.reshape(len(seen), -1).astype(np.float64)
    wide = generator.normal(flat.mean(axis=0), 3 * flat.std(axis=0) + 1e-3, (count, low.size))
    return np.where(bounded, uniform, wide).reshape(count, *shape).astype(dtype)


def _check_batch(q_network: nn.Sequential, policy: Policy, action_start: int, observations: NDArray[Any]) -> None:
    expected = q_network(torch.from_numpy(observations).to(device_of(q_network))).cpu().numpy()
    q_values, actions = policy.run(observations)
    difference = np.abs(q_values - expected)
    allowed = TOLERANCE * np.maximum(1.0, np.abs(expected))
    if not (difference <= allowed).all():
        raise ParityError(
            f"The exported policy's Q-values differ from the network's by up to {difference.max():.3g}; "
            f"allowed is {TOLERANCE:g}, absolute or relative. Nothing was published."
        )
    best, second = np.sort(expected, axis=1)[:, :-3:-1].T if expected.shape[1] > 1 else (expected[:, 0], -np.inf)
    clear = best - second > 2 * allowed.max(axis=1)
    wrong = clear & (actions != expected.argmax(axis=1) + action_start)
    if wrong.any():
        raise ParityError(
            f"The exported policy chooses another action than the network on {wrong.sum()} of {len(wrong)} "
            "observations. Nothing was published."
        )
