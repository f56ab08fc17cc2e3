"""A short random play, which says of an environment what settings depend on."""

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

_MOST_STEPS = 1_000
_SHARE = 20  # of a run's steps, one in so many at most
_DEEPEST = 12  # steps into an episode, at most, before a step is repeated with other random numbers
_MOST_REPEATED = 40
_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
_ALIKE = 0.5
"""Two outcomes of the same step differ when they are further apart than this part of what the step changed."""

Choose = Callable[[dict[str, Any]], Any]
"""A random action that the info allows."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """What was met, with random actions; nothing in it depends on the clock."""

    episode_length: float  # mean; infinite where no episode came to an end
    reward_scale: float  # root mean square of the rewards that are not 0; 0 where there was none
    rewarded: float  # fraction of the steps whose reward differs from the most frequent one
    chance: float  # fraction of steps that had another outcome with other random numbers
    number_size: float  # root mean square of the numbers observed, as a network gets them; 0 where there were none
    broken: bool  # the environment broke down, so that the rest is from what came before


class _Step(NamedTuple):
    """The outcome of a step in numbers."""

    observation: NDArray[np.float64]
    reward: float
    ended: bool


def probe_steps(config: DQNConfig) -> int:
    """One step for every twenty of the run, and no more than a thousand."""
    return min(_MOST_STEPS, config.total_env_steps // _SHARE)


def look_at(config: DQNConfig, environment: EnvironmentInfo) -> Facts:
    """Plays at random where the run's environments will be: if in processes, in one of its own.

    A process that dies, as a run's then will, has met nothing.
    """
    steps = probe_steps(config)
    if config.vectorization != "async":
        return play_at_random(environment, steps)
    ignore_interrupts = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(1, initializer=ignore_interrupts) as pool:
        try:
            return pool.submit(play_at_random, environment, steps).result()
        except BrokenProcessPool:
            return Facts(math.inf, 0.0, 0.0, 0.0, 0.0, broken=True)


def play_at_random(environment: EnvironmentInfo, steps: int) -> Facts:
    """Plays about so many steps. Where the environment breaks down, the facts are those met by then.

    The process's random generators stay as they were.
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
    broken = True
    try:
        seed_process(0)
        made.action_space.seed(0)
        with contextlib.suppress(FaultyEnvironmentError):
            for observation, reward, length in _play(made, choose, steps // 2):
                rewards.append(reward)
                squares.append(_mean_square(environment, observation))
                lengths += [length] if length else []
            broken = False
            _repeat(made, choose, steps // 2, differing)
    finally:
        made.close()
        restore_process_generators(kept)
    found = np.array(rewards)
    _, counts = np.unique(found, return_counts=True)
    return Facts(
        episode_length=float(np.mean(lengths)) if lengths else math.inf,
        reward_scale=float(np.sqrt(np.mean(found[found != 0] ** 2))) if found.any() else 0.0,
        rewarded=1 - float(counts.max()) / len(found) if len(found) else 0.0,
        chance=float(np.mean(differing)) if differing else 0.0,
        number_size=float(np.sqrt(np.mean(squares))) if squares else 0.0,
        broken=broken,
    )


def _play(environment: AnyEnv, choose: Choose, steps: int) -> Iterator[tuple[Any, float, int]]:
    """The observation and the reward of each step, and the length of the episode where it ends it, else 0."""
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
    """Of the numbers that are neither pictures nor rows of a table, bytes in the scale that a network takes them in."""
    found = [np.zeros(0)]
    for leaf in environment.observation_space.leaves:
        if isinstance(leaf.space, BoxSpace) and not looks_like_image(leaf.space):
            values = np.asarray(observation[leaf.name] if leaf.path else observation, np.float64).ravel()
            found.append(values / max(1.0, leaf.space.largest) if leaf.space.tensor_dtype == np.uint8 else values)
    numbers = np.concatenate(found)
    return float(np.mean(numbers**2)) if len(numbers) else 0.0


def _repeat(environment: AnyEnv, choose: Choose, steps: int, differing: list[bool]) -> None:
    """Takes single steps twice, after the same episode so far, the second time with other random numbers."""
    generator = np.random.default_rng(0)
    for trial in range(_MOST_REPEATED):
        before = int(generator.integers(0, _DEEPEST))
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
    """An observation `before` steps into an episode, and one more step; None where the episode ended earlier."""
    seed_process(trial)
    environment.action_space.seed(trial)
    observation, info = environment.reset(seed=trial)
    for _ in range(before):
        observation, _, terminated, truncated, info = environment.step(choose(info))
        if terminated or truncated:
            return None
    action = choose(info)
    if other:
        seed_process(trial + _MOST_REPEATED)
        for number, drawing in enumerate(_generators_of(environment, set())):
            _draw_others(drawing, [trial, number])
    after, reward, terminated, truncated, _ = environment.step(action)
    return _numbers(observation), _Step(_numbers(after), float(reward), terminated or truncated)


def _generators_of(value: Any, seen: set[int]) -> Iterator[Any]:
    """The random generators that an environment, and the objects that it is made of, have as attributes."""
    seen.add(id(value))
    for item in list(vars(value).values()):
        if isinstance(item, _GENERATORS):
            yield item
        elif hasattr(item, "__dict__") and not (callable(item) or inspect.ismodule(item) or id(item) in seen):
            yield from _generators_of(item, seen)


def _draw_others(generator: Any, seed: list[int]) -> None:
    """Gives a generator another state, which follows from the seed."""
    if isinstance(generator, np.random.Generator):
        bits: Any = generator.bit_generator
        bits.state = type(bits)(seed).state
    else:
        generator.seed(seed if isinstance(generator, np.random.RandomState) else str(seed))


def _differ(
    once: tuple[NDArray[np.float64], _Step], again: tuple[NDArray[np.float64], _Step], *, any_change: bool
) -> bool:
    """Whether two outcomes of a step are further apart than small noise makes them."""
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
    """All numbers of an observation, those of all leaves, in one row."""
    array = np.asarray(observation)
    if array.dtype.names is not None:
        return np.concatenate([_numbers(array[name]) for name in array.dtype.names])
    return array.astype(np.float64).ravel()
