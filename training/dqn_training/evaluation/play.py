"""Plays whole episodes with an exported policy.

Every episode has a seed of its own, fixed before play begins, and every one is played to its end. So short episodes are
not favoured, and two policies that play the same seeds meet the same start states.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dqn_models.manifest import EnvironmentInfo, Evaluation
from dqn_models.policy import Policy
from dqn_training.envs.make import make_environment
from dqn_training.envs.vector import AnyVectorEnv, is_native, make_vector_environment
from dqn_training.evaluation.statistics import mean_interval

_NATIVE_SLOTS = 1_024
_SINGLE_SLOTS = 32


class Episodes(NamedTuple):
    """Results in the order of the seeds."""

    returns: NDArray[np.float64]  # [episodes], undiscounted
    lengths: NDArray[np.int64]  # [episodes], steps


def play(policy: Policy, environment: EnvironmentInfo, seed: int, episodes: int, step_limit: int) -> Episodes:
    """Plays `episodes` greedy episodes with the environment seeds from `seed` on.

    An episode that is still going after `step_limit` steps ends there.
    """
    if not is_native(environment):
        return _play_singly(policy, environment, seed, episodes, step_limit)
    played = []
    for first in range(0, episodes, _NATIVE_SLOTS):
        slots = min(_NATIVE_SLOTS, episodes - first)
        environments = make_vector_environment(environment, slots, "native")
        try:
            played.append(_play_natively(policy, environments, seed + first, step_limit))
        finally:
            environments.close()
    return Episodes(
        np.concatenate([result.returns for result in played]), np.concatenate([result.lengths for result in played])
    )


def summarize(episodes: Episodes, seed: int) -> Evaluation:
    """The manifest's `evaluation`."""
    returns = episodes.returns
    return Evaluation(
        episodes=len(returns),
        seed=seed,
        mean=float(returns.mean()),
        std=float(returns.std()),
        min=float(returns.min()),
        max=float(returns.max()),
        ci95=mean_interval(returns),
        mean_length=float(episodes.lengths.mean()),
    )


def _play_natively(policy: Policy, environments: AnyVectorEnv, seed: int, step_limit: int) -> Episodes:
    """One episode in each slot of a native vector environment."""
    observations, _ = environments.reset(seed=seed)
    returns = np.zeros(environments.num_envs)
    lengths = np.zeros(environments.num_envs, np.int64)
    playing = np.ones(environments.num_envs, np.bool_)
    for _ in range(step_limit):
        actions = policy.act(observations.astype(policy.observation_dtype, copy=False))
        observations, rewards, terminated, truncated, _ = environments.step(actions)
        returns += np.where(playing, rewards, 0.0)
        lengths += playing
        playing &= ~(terminated | truncated)
        if not playing.any():
            break
    return Episodes(returns, lengths)


def _play_singly(policy: Policy, environment: EnvironmentInfo, seed: int, episodes: int, step_limit: int) -> Episodes:
    """Slots of one environment each, played with one batched policy; a slot continues with its next seed."""
    returns = np.zeros(episodes)
    lengths = np.zeros(episodes, np.int64)
    slots = min(_SINGLE_SLOTS, episodes)
    environments = [make_environment(environment.id, environment.kwargs, environment.wrappers) for _ in range(slots)]
    try:
        running = {slot: slot for slot in range(slots)}  # slot -> its episode; its next one is `slots` further on
        observations: dict[int, Any] = {slot: environments[slot].reset(seed=seed + slot)[0] for slot in range(slots)}
        while running:
            batch = np.array([observations[slot] for slot in running], policy.observation_dtype)
            for (slot, episode), action in zip(list(running.items()), policy.act(batch), strict=True):
                observations[slot], reward, terminated, truncated, _ = environments[slot].step(action)
                returns[episode] += float(reward)
                lengths[episode] += 1
                if not (terminated or truncated or lengths[episode] >= step_limit):
                    continue
                running[slot] = episode + slots
                if running[slot] < episodes:
                    observations[slot], _ = environments[slot].reset(seed=seed + running[slot])
                else:
                    del running[slot]
    finally:
        for single in environments:
            single.close()
    return Episodes(returns, lengths)
