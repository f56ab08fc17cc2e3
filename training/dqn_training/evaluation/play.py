"""Plays whole episodes with an exported policy, or with random actions.

Every episode has a seed of its own, fixed before play begins. So short episodes are not favoured, and two policies that
play the same seeds meet the same start states. An episode ends where its environment ends it, or at a limit.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dqn_models.manifest import EnvironmentInfo, Evaluation
from dqn_models.masks import ACTION_MASK, BoolArray
from dqn_models.spaces import ActionSpace
from dqn_training.envs.checks import AnyEnv, several_instances
from dqn_training.envs.make import make_described
from dqn_training.envs.vector import AnyVectorEnv, is_native, make_vector_environment
from dqn_training.evaluation.statistics import mean_interval

SLOTS = 32
"""Single environments that play at once, if nothing else is asked for."""
_NATIVE_SLOTS = 1_024
_ACTIONS = 1  # beside a seed: actions must not follow the random numbers of the episode with that seed
_STEPS_WITHOUT_END, _STEPS = 1_000, 27_000

Tick = Callable[[int], None]
"""Called now and then with the environment steps taken so far."""


class Player(Protocol):
    """Chooses actions: a Policy, or RandomPolicy."""

    observation_dtype: np.dtype[Any]

    def act(self, observations: NDArray[Any], /) -> NDArray[Any]:
        """Actions [batch, ...] for observations [batch, *observation_shape]."""

    def choose(self, observations: NDArray[Any], masks: BoolArray, actions: ActionSpace, /) -> NDArray[np.int64]:
        """Indices [batch, ...] of actions that the masks [batch, n] allow; each allows one."""


class RandomPolicy:
    """Chooses every action with the same probability; what any policy must be better than."""

    def __init__(self, environment: EnvironmentInfo, seed: int) -> None:
        self.observation_dtype = environment.observation_space.tensor_dtype
        self._actions = environment.action_space
        self._generator = np.random.default_rng([seed, _ACTIONS])

    def act(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Actions [batch, ...]; of the observations only their number counts."""
        actions: NDArray[Any] = self._actions.action(self._actions.random(self._generator, len(observations)))
        return actions

    def choose(self, observations: NDArray[Any], masks: BoolArray, actions: ActionSpace) -> NDArray[np.int64]:  # noqa: ARG002  (a Player's)
        """Indices [batch, ...] of actions that the masks [batch, n] allow."""
        return actions.random_allowed(masks, self._generator.random(actions.draws_shape(len(masks))))


def decide(player: Player, actions: ActionSpace, observations: NDArray[Any], masks: BoolArray | None) -> NDArray[Any]:
    """Actions [batch, ...] in the environment's own form for a batch of observations.

    With masks [batch, n] only what they allow; where one allows none, any. A server chooses likewise.
    """
    if masks is None:
        return player.act(observations)
    allowed = masks | ~actions.possible(masks)[:, np.newaxis]
    chosen: NDArray[Any] = actions.action(player.choose(observations, allowed, actions))
    return chosen


class Episodes(NamedTuple):
    """Results in the order of the seeds."""

    returns: NDArray[np.float64]  # [episodes], undiscounted
    lengths: NDArray[np.int64]  # [episodes], steps
    cut: NDArray[np.bool_]  # [episodes]: a limit ended it, not the environment

    @property
    def env_steps(self) -> int:
        """Of all episodes together."""
        return int(self.lengths.sum())


def step_limit(configured: int | None, environment: EnvironmentInfo) -> int:
    """Steps after which an episode ends: as configured, or by whether the environment has a time limit of its own."""
    return configured or (_STEPS_WITHOUT_END if environment.max_episode_steps is None else _STEPS)


def play(
    player: Player,
    environment: EnvironmentInfo,
    seed: int,
    episodes: int,
    step_limit: int,
    *,
    slots: int = SLOTS,
    most_steps: int | None = None,
    tick: Tick = lambda _: None,
) -> Episodes:
    """Plays `episodes` episodes with the environment seeds from `seed` on, at most `slots` at a time (native: all).

    An episode that is still going after `step_limit` steps ends there. When all of them together have taken
    `most_steps`, those under way end, too, and later ones are not begun: the result has fewer then, but at least one.
    """
    meter = _Meter(step_limit, most_steps, tick)
    if slots == 1 or not is_native(environment):
        return _play_singly(player, environment, seed, episodes, meter, slots)
    played: list[Episodes] = []
    for first in range(0, episodes, _NATIVE_SLOTS):
        if played and meter.spent:
            break
        environments = make_vector_environment(environment, min(_NATIVE_SLOTS, episodes - first), "native")
        try:
            played.append(_play_natively(player, environments, seed + first, meter))
        finally:
            environments.close()
    return Episodes(*(np.concatenate(parts) for parts in zip(*played, strict=True)))


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
        cut_short=int(episodes.cut.sum()),
    )


def remarks(evaluation: Evaluation) -> str:
    """The end of a sentence about an evaluation: episodes that were cut short, and what a random policy reaches."""
    said = f"; the step limit ended {evaluation.cut_short:,} of them" if evaluation.cut_short else ""
    if evaluation.random_mean is None:
        return said
    worse = ": it is worse than random" if evaluation.mean < evaluation.random_mean else ""
    return (
        f"{said}; a random policy reaches {evaluation.random_mean:.2f} ({evaluation.random_episodes} episodes){worse}"
    )


class _Meter:
    """Counts steps against the limits."""

    def __init__(self, step_limit: int, most_steps: int | None, tick: Tick) -> None:
        self.step_limit = step_limit
        self._most_steps = most_steps
        self._tick = tick
        self._steps = 0

    def add(self, steps: int) -> None:
        self._steps += steps
        self._tick(self._steps)

    @property
    def spent(self) -> bool:
        return self._most_steps is not None and self._steps >= self._most_steps


def _play_natively(player: Player, environments: AnyVectorEnv, seed: int, meter: _Meter) -> Episodes:
    """One episode in each slot of a native vector environment."""
    observations, _ = environments.reset(seed=seed)
    returns = np.zeros(environments.num_envs)
    lengths = np.zeros(environments.num_envs, np.int64)
    playing = np.ones(environments.num_envs, np.bool_)
    for _ in range(meter.step_limit):
        actions = player.act(observations.astype(player.observation_dtype, copy=False))
        observations, rewards, terminated, truncated, _ = environments.step(actions)
        returns += np.where(playing, rewards, 0.0)
        lengths += playing
        meter.add(int(np.count_nonzero(playing)))
        playing &= ~(terminated | truncated)
        if meter.spent or not playing.any():
            break
    return Episodes(returns, lengths, playing)


def _play_singly(
    player: Player, environment: EnvironmentInfo, seed: int, episodes: int, meter: _Meter, slots: int
) -> Episodes:
    """Slots of one environment each, played with one batched policy; a slot continues with its next seed."""
    returns = np.zeros(episodes)
    lengths = np.zeros(episodes, np.int64)
    cut = np.zeros(episodes, np.bool_)
    slots = min(slots, episodes)
    environments: list[AnyEnv] = []
    try:
        with several_instances():
            for _ in range(slots):
                environments.append(make_described(environment))  # noqa: PERF401  (each must be closed, also if the next fails)
        running = {slot: slot for slot in range(slots)}  # slot -> its episode
        observations: dict[int, Any] = {}
        masks: dict[int, BoolArray | None] = {}
        for slot in range(slots):
            observations[slot], info = environments[slot].reset(seed=seed + slot)
            masks[slot] = info.get(ACTION_MASK)
        begun = slots
        while running:
            batch = np.array([observations[slot] for slot in running], player.observation_dtype)
            allowed = np.array([masks[slot] for slot in running]) if environment.action_mask else None
            actions = decide(player, environment.action_space, batch, allowed)
            for (slot, episode), action in zip(list(running.items()), actions, strict=True):
                observations[slot], reward, terminated, truncated, info = environments[slot].step(action)
                masks[slot] = info.get(ACTION_MASK)
                returns[episode] += float(reward)
                lengths[episode] += 1
                cut[episode] = not (terminated or truncated) and lengths[episode] >= meter.step_limit
                if not (terminated or truncated or cut[episode]):
                    continue
                del running[slot]
                if begun < episodes and not meter.spent:
                    running[slot], begun = begun, begun + 1
                    observations[slot], info = environments[slot].reset(seed=seed + running[slot])
                    masks[slot] = info.get(ACTION_MASK)
            meter.add(len(batch))
            if meter.spent:
                cut[list(running.values())] = True
                break
    finally:
        for single in environments:
            single.close()
    return Episodes(returns[:begun], lengths[:begun], cut[:begun])
