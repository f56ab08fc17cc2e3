"""A short probe of an environment with random actions, which measures what settings depend on."""

import contextlib
import dataclasses
import math
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

import numpy as np

from dqn_models.manifest import EnvironmentInfo
from dqn_models.spaces import BoxSpace
from dqn_training.config import DQNConfig
from dqn_training.envs.checks import AnyEnv, FaultyEnvironmentError
from dqn_training.envs.make import make_described
from dqn_training.envs.masks import random_action
from dqn_training.networks.encoders import looks_like_image
from dqn_training.seeds import process_generators, restore_process_generators, seed_process

_MAX_STEPS = 500
_RUN_STEPS_PER_STEP = 40

Choose = Callable[[dict[str, Any]], Any]
"""Returns a random action allowed by the info."""


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    """Measurements with random actions; none of them depends on time."""

    episode_length: float  # mean; infinite if no episode ended
    reward_scale: float  # root mean square of the nonzero rewards; 0 if there were none
    rewarded: float  # fraction of steps whose reward differs from the most frequent one
    feature_scale: float  # root mean square of the features, as a network gets them; 0 if there were none
    failed: bool  # the environment failed; the rest was measured before


def probe_steps(config: DQNConfig) -> int:
    """Number of steps of the probe: one for every forty of the run, at most 500."""
    return min(_MAX_STEPS, config.total_env_steps // _RUN_STEPS_PER_STEP)


def probe_environment(config: DQNConfig, environment: EnvironmentInfo) -> ProbeResult:
    """Probes the environment where the run will step it: in a separate process if it uses processes.

    If that process dies, as the run's will, there are no measurements.
    """
    steps = probe_steps(config)
    if config.vectorization != "async":
        return play_at_random(environment, steps)
    ignore_interrupts = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(1, initializer=ignore_interrupts) as pool:
        try:
            return pool.submit(play_at_random, environment, steps).result()
        except BrokenProcessPool:
            return ProbeResult(math.inf, 0.0, 0.0, 0.0, failed=True)


def play_at_random(environment: EnvironmentInfo, steps: int) -> ProbeResult:
    """Plays `steps` steps. If the environment fails, the result has the measurements up to then.

    The process's random generators are left unchanged.
    """
    kept = process_generators()
    made = make_described(environment)

    def choose(info: dict[str, Any]) -> Any:
        if environment.action_mask is None:
            return made.action_space.sample()
        return random_action(environment.action_space, info, made.action_space.np_random)

    rewards: list[float] = []
    squares: list[float] = []
    lengths: list[int] = []
    failed = True
    try:
        seed_process(0)
        made.action_space.seed(0)
        with contextlib.suppress(FaultyEnvironmentError):
            for observation, reward, length in _play(made, choose, steps):
                rewards.append(reward)
                squares.append(_mean_square(environment, observation))
                lengths += [length] if length else []
            failed = False
    finally:
        made.close()
        restore_process_generators(kept)
    found = np.array(rewards)
    _, counts = np.unique(found, return_counts=True)
    return ProbeResult(
        episode_length=float(np.mean(lengths)) if lengths else math.inf,
        reward_scale=float(np.sqrt(np.mean(found[found != 0] ** 2))) if found.any() else 0.0,
        rewarded=1 - float(counts.max()) / len(found) if len(found) else 0.0,
        feature_scale=float(np.sqrt(np.mean(squares))) if squares else 0.0,
        failed=failed,
    )


def _play(environment: AnyEnv, choose: Choose, steps: int) -> Iterator[tuple[Any, float, int]]:
    """Yields observation and reward of each step, and the length of the episode if the step ends it, else 0."""
    _, info = environment.reset(seed=0)
    length = 0
    for _ in range(steps):
        observation, reward, terminated, truncated, info = environment.step(choose(info))
        length += 1
        over = terminated or truncated
        yield observation, float(reward), length if over else 0
        if over:
            length = 0
            _, info = environment.reset()


def _mean_square(environment: EnvironmentInfo, observation: Any) -> float:
    """Mean square of an observation's features, without images and finite leaves; bytes are scaled as for a network."""
    found = [np.zeros(0)]
    for leaf in environment.observation_space.leaves:
        if isinstance(leaf.space, BoxSpace) and not looks_like_image(leaf.space):
            values = np.asarray(observation[leaf.name] if leaf.path else observation, np.float64).ravel()
            found.append(values / max(1.0, leaf.space.largest) if leaf.space.tensor_dtype == np.uint8 else values)
    numbers = np.concatenate(found)
    return float(np.mean(numbers**2)) if len(numbers) else 0.0
