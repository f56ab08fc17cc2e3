"""A short probe of an environment with random actions, which measures what settings depend on."""

import contextlib
import dataclasses
import inspect
import math
import random
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from dqn_models.manifest import EnvironmentInfo
from dqn_models.spaces import BoxSpace
from dqn_training.config import DQNConfig
from dqn_training.envs.checks import AnyEnv, FaultyEnvironmentError
from dqn_training.envs.make import make_described
from dqn_training.envs.masks import random_action
from dqn_training.networks.encoders import looks_like_image
from dqn_training.seeds import process_generators, restore_process_generators, seed_process

_MAX_STEPS = 1_000
_RUN_STEPS_PER_STEP = 20
_MAX_DEPTH = 12  # maximum steps into an episode before a step is repeated with other random numbers
_MAX_REPEATED = 40
_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
_ALIKE = 0.5
"""Two outcomes of the same step differ if they are further apart than this fraction of the step's change."""

Choose = Callable[[dict[str, Any]], Any]
"""Returns a random action allowed by the info."""


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    """Measurements with random actions; none of them depends on time."""

    episode_length: float  # mean; infinite if no episode ended
    reward_scale: float  # root mean square of the nonzero rewards; 0 if there were none
    rewarded: float  # fraction of steps whose reward differs from the most frequent one
    stochastic: float  # fraction of steps with another outcome for other random numbers
    feature_scale: float  # root mean square of the features, as a network gets them; 0 if there were none
    failed: bool  # the environment failed; the rest was measured before


class _Step(NamedTuple):
    """The outcome of a step."""

    observation: NDArray[np.float64]
    reward: float
    ended: bool


def probe_steps(config: DQNConfig) -> int:
    """Number of steps of the probe: one for every twenty of the run, at most a thousand."""
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
            return ProbeResult(math.inf, 0.0, 0.0, 0.0, 0.0, failed=True)


def play_at_random(environment: EnvironmentInfo, steps: int) -> ProbeResult:
    """Plays about `steps` steps. If the environment fails, the result has the measurements up to then.

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
    differing: list[bool] = []
    failed = True
    try:
        seed_process(0)
        made.action_space.seed(0)
        with contextlib.suppress(FaultyEnvironmentError):
            for observation, reward, length in _play(made, choose, steps // 2):
                rewards.append(reward)
                squares.append(_mean_square(environment, observation))
                lengths += [length] if length else []
            failed = False
            _repeat(made, choose, steps // 2, differing)
    finally:
        made.close()
        restore_process_generators(kept)
    found = np.array(rewards)
    _, counts = np.unique(found, return_counts=True)
    return ProbeResult(
        episode_length=float(np.mean(lengths)) if lengths else math.inf,
        reward_scale=float(np.sqrt(np.mean(found[found != 0] ** 2))) if found.any() else 0.0,
        rewarded=1 - float(counts.max()) / len(found) if len(found) else 0.0,
        stochastic=float(np.mean(differing)) if differing else 0.0,
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


def _repeat(environment: AnyEnv, choose: Choose, steps: int, differing: list[bool]) -> None:
    """Takes single steps twice from the same state, the second time with other random numbers."""
    generator = np.random.default_rng(0)
    for trial in range(_MAX_REPEATED):
        before = int(generator.integers(0, _MAX_DEPTH))
        steps -= 2 * (before + 1)
        if steps < 0:
            return
        once = _outcome(environment, choose, trial, before, other=False)
        again = _outcome(environment, choose, trial, before, other=True)
        if once is not None and again is not None and np.array_equal(once[0], again[0]):
            discrete = isinstance(environment.observation_space, spaces.Discrete)
            differing.append(_differ(once, again, any_change=discrete))


def _outcome(
    environment: AnyEnv, choose: Choose, trial: int, before: int, *, other: bool
) -> tuple[NDArray[np.float64], _Step] | None:
    """The observation `before` steps into an episode, and the next step; None if the episode ends before."""
    seed_process(trial)
    environment.action_space.seed(trial)
    observation, info = environment.reset(seed=trial)
    for _ in range(before):
        observation, _, terminated, truncated, info = environment.step(choose(info))
        if terminated or truncated:
            return None
    action = choose(info)
    if other:
        seed_process(trial + _MAX_REPEATED)
        for number, drawing in enumerate(_generators_of(environment, set())):
            _draw_others(drawing, [trial, number])
    after, reward, terminated, truncated, _ = environment.step(action)
    return _numbers(observation), _Step(_numbers(after), float(reward), terminated or truncated)


def _generators_of(value: Any, seen: set[int]) -> Iterator[Any]:
    """The random generators in the attributes of an environment and, recursively, of the objects in it."""
    seen.add(id(value))
    for item in list(vars(value).values()):
        if isinstance(item, _GENERATORS):
            yield item
        elif hasattr(item, "__dict__") and not (callable(item) or inspect.ismodule(item) or id(item) in seen):
            yield from _generators_of(item, seen)


def _draw_others(generator: Any, seed: list[int]) -> None:
    """Reseeds a generator."""
    if isinstance(generator, np.random.Generator):
        bits: Any = generator.bit_generator
        bits.state = type(bits)(seed).state
    else:
        generator.seed(seed if isinstance(generator, np.random.RandomState) else str(seed))


def _differ(
    once: tuple[NDArray[np.float64], _Step], again: tuple[NDArray[np.float64], _Step], *, any_change: bool
) -> bool:
    """Whether two outcomes of a step differ by more than small noise."""
    (before, first), (_, second) = once, again
    apart = abs(first.reward - second.reward) > _ALIKE * max(abs(first.reward), abs(second.reward))
    if first.ended != second.ended or apart or first.observation.shape != second.observation.shape:
        return True
    between = float(np.abs(first.observation - second.observation).max(initial=0.0))
    if any_change or before.shape != first.observation.shape:
        return between > 0
    changed = max(float(np.abs(step.observation - before).max(initial=0.0)) for step in (first, second))
    return between > _ALIKE * changed


def _numbers(observation: Any) -> NDArray[np.float64]:
    """All elements of an observation, over all leaves, in one row."""
    array = np.asarray(observation)
    if array.dtype.names is not None:
        return np.concatenate([_numbers(array[name]) for name in array.dtype.names])
    return array.astype(np.float64).ravel()
