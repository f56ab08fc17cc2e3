"""Plays whole episodes with an exported policy, or with random actions.

Every episode has its own seed, fixed before play begins, so that short episodes are not favoured and two policies with
the same seeds meet the same initial states. An episode ends when its environment ends it, or at a step limit.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dqn_models.manifest import EnvironmentInfo, Evaluation
from dqn_models.masks import ACTION_MASK, BoolArray
from dqn_models.spaces import ActionSpace
from dqn_training.envs.checks import AnyEnv, single_instance_hint
from dqn_training.envs.make import make_described
from dqn_training.envs.vector import AnyVectorEnv, is_native, make_vector_environment
from dqn_training.evaluation.statistics import mean_interval

SLOTS = 32
"""Default number of single environments that play at once."""
_NATIVE_SLOTS = 1_024
_ACTIONS = 1  # added to a seed: actions must not correlate with the random numbers of the episode with that seed
_STEPS_WITHOUT_END, _STEPS = 1_000, 27_000

Tick = Callable[[int], None]
"""Called regularly with the number of environment steps so far."""


class Player(Protocol):
    """Chooses actions: a Policy, or RandomPolicy."""

    observation_dtype: np.dtype[Any]

    def act(self, observations: NDArray[Any], /) -> NDArray[Any]:
        """Actions [batch, ...] for observations [batch, *observation_shape]."""

    def choose(self, observations: NDArray[Any], masks: BoolArray, actions: ActionSpace, /) -> NDArray[np.int64]:
        """Indices [batch, ...] of actions allowed by masks [batch, n]; each row must allow at least one."""


class RandomPolicy:
    """Chooses actions uniformly at random; the baseline that any policy should beat."""

    def __init__(self, environment: EnvironmentInfo, seed: int) -> None:
        self.observation_dtype = environment.observation_space.tensor_dtype
        self._actions = environment.action_space
        self._generator = np.random.default_rng([seed, _ACTIONS])

    def act(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Actions [batch, ...]; only the number of observations matters."""
        actions: NDArray[Any] = self._actions.action(self._actions.random(self._generator, len(observations)))
        return actions

    def choose(self, observations: NDArray[Any], masks: BoolArray, actions: ActionSpace) -> NDArray[np.int64]:  # noqa: ARG002  (a Player's)
        """Indices [batch, ...] of actions allowed by masks [batch, n]."""
        return actions.random_allowed(masks, self._generator.random(actions.draws_shape(len(masks))))


def decide(player: Player, actions: ActionSpace, observations: NDArray[Any], masks: BoolArray | None) -> NDArray[Any]:
    """Actions [batch, ...] in the environment's form for a batch of observations, selected as by the server.

    With masks [batch, n], only allowed actions; any action where a row allows none.
    """
    if masks is None:
        return player.act(observations)
    allowed = masks | ~actions.possible(masks)[:, np.newaxis]
    chosen: NDArray[Any] = actions.action(player.choose(observations, allowed, actions))
    return chosen


class Episodes(NamedTuple):
    """Results of episodes, in the order of their seeds."""

    returns: NDArray[np.float64]  # [episodes], undiscounted
    lengths: NDArray[np.int64]  # [episodes], steps
    cut: NDArray[np.bool_]  # [episodes]: ended by a limit, not by the environment

    @property
    def env_steps(self) -> int:
        """Total steps of all episodes."""
        return int(self.lengths.sum())


def step_limit(configured: int | None, environment: EnvironmentInfo) -> int:
    """Steps after which an episode is truncated: as configured, else 27,000, or 1,000 without a time limit."""
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
    """Plays `episodes` episodes with environment seeds from `seed` on, at most `slots` at a time (native: all).

    An episode is truncated after `step_limit` steps. Once all of them together have taken `most_steps`, running
    episodes are truncated too and no further ones start, so the result may have fewer episodes, but at least one.
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
    """The end of a sentence about an evaluation: truncated episodes, and the return of a random policy."""
    remark = f"; {evaluation.cut_short:,} truncated by the step limit" if evaluation.cut_short else ""
    if evaluation.random_mean is None:
        return remark
    worse = ": this policy is worse than random" if evaluation.mean < evaluation.random_mean else ""
    return (
        f"{remark}; a random policy reaches {evaluation.random_mean:.2f} ({evaluation.random_episodes} episodes){worse}"
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
    """Plays one episode in each slot of a native vector environment."""
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
    """Plays in slots of one environment each with one batched policy; a free slot takes the next seed."""
    returns = np.zeros(episodes)
    lengths = np.zeros(episodes, np.int64)
    cut = np.zeros(episodes, np.bool_)
    slots = min(slots, episodes)
    environments: list[AnyEnv] = []
    try:
        with single_instance_hint():
            for _ in range(slots):
                environments.append(make_described(environment))  # noqa: PERF401  (must be closed even if the next one fails)
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
