"""The rules of the preset `general`: few, and each with what it rests on in docs/ablation.md.

A rule takes the settings so far, the environment and what the random play met, and gives settings with the reason.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from dqn_models.manifest import EnvironmentInfo
from dqn_models.spaces import BoxSpace, DiscreteSpace, MultiBinarySpace, MultiDiscreteSpace
from dqn_training.choosing.probe import Facts
from dqn_training.config import DQNConfig
from dqn_training.networks.encoders import looks_like_image
from dqn_training.replay.frames import stored_dtype

Choice = tuple[dict[str, Any], str]
Rule = Callable[[DQNConfig, EnvironmentInfo, Facts], Choice]

_NOTHING: Choice = ({}, "")
_TABLE: dict[str, Any] = {
    "layer_norm": False,
    "n_step": 1,
    "hidden_sizes": (64, 64),
    "batch_size": 64,
    "train_every": 2,
    "learning_rate": 3e-3,
    "tau": 0.02,
}
"""Rows that have little in common do not disturb one another, so that learning may be fast."""
_EPISODES_EACH = 4
_UNKNOWN_LENGTH = 1_000  # steps of an episode that has no limit and did not end
_CHANCE = 0.3
_LARGE_SIDE = 36  # pixels
_SHORT_RUN = 500_000  # environment steps
_USUAL_REWARDS = (0.1, 5.0)
_USUAL_NUMBERS = (0.1, 5.0)
_SELDOM = 0.02
_STARTS = 20
_REPLAY_BYTES = 2 * 10**9


def episodes(config: DQNConfig, environment: EnvironmentInfo, facts: Facts) -> Choice:
    """Fewer environments where episodes are long: each is to end some."""
    length = facts.episode_length
    if math.isinf(length):
        length = environment.max_episode_steps or _UNKNOWN_LENGTH
    most = max(1, int(config.total_env_steps // (_EPISODES_EACH * length)))
    return {"num_envs": min(config.num_envs, most)}, f"episodes have about {length:,.0f} steps"


def observations(config: DQNConfig, environment: EnvironmentInfo, facts: Facts) -> Choice:
    """What suits a table, pictures, or numbers.

    Returns over several steps also count in the steps of exploring, so that they are not for where these are dear, and
    vary where chance is large. In a short run a small picture is learned from sooner as a row of numbers, and a
    gradient step with convolutions takes three times as long.
    """
    if _is_table(environment):
        return _TABLE, "observations are the rows of a table"
    chance = f"chance decides {facts.chance:.0%} of the steps"
    settings: dict[str, Any] = {"n_step": 1 if facts.chance >= _CHANCE else 3, "batch_size": 64}
    largest = max(_sides_of_pictures(environment), default=0)
    if not largest:
        return settings, chance
    if largest < _LARGE_SIDE and config.total_env_steps <= _SHORT_RUN and not config.conv_layers:
        return settings | {"network": "mlp"}, f"observations are small pictures, the run is short, and {chance}"
    settings |= {"layer_norm": False, "batch_size": 32}
    if largest >= _LARGE_SIDE:
        settings |= {"train_every": 8, "learning_rate": 1e-4}
    return settings, f"observations are pictures, and {chance}"


def numbers(_: DQNConfig, __: EnvironmentInfo, facts: Facts) -> Choice:
    """Numbers of another size than the network's first weights are made for are normalized."""
    low, high = _USUAL_NUMBERS
    if not facts.number_size or low <= facts.number_size <= high:
        return _NOTHING
    return {"normalize": True}, f"numbers are about {facts.number_size:.3g} in size"


def rewards(config: DQNConfig, _: EnvironmentInfo, facts: Facts) -> Choice:
    """Rewards are scaled to about 1, which suits the loss and the optimizer; not those that c51's atoms are for."""
    low, high = _USUAL_REWARDS
    if (
        config.clip_rewards
        or config.distribution == "c51"
        or not facts.reward_scale
        or low <= facts.reward_scale <= high
    ):
        return _NOTHING
    return {
        "reward_scale": 10.0 ** -round(math.log10(facts.reward_scale))
    }, f"rewards are about {facts.reward_scale:.3g}"


def exploration(config: DQNConfig, _: EnvironmentInfo, facts: Facts) -> Choice:
    """A quarter of the run for exploring; half of it where random actions change the reward hardly ever."""
    seldom = facts.rewarded < _SELDOM
    steps = max(1.0, config.total_env_steps // (2 if seldom else 4))
    return {"epsilon_decay_steps": steps}, f"random actions are {'seldom' if seldom else 'often'} rewarded"


def start(config: DQNConfig, _: EnvironmentInfo, __: Facts) -> Choice:
    """Learning starts early in a short run."""
    early = max(config.batch_size, config.total_env_steps // _STARTS)
    return {"learning_starts": min(config.learning_starts, early)}, f"the run has {config.total_env_steps:,} steps"


def memory(config: DQNConfig, environment: EnvironmentInfo, _: Facts) -> Choice:
    """Replay has a bounded size."""
    row = stored_dtype(environment).itemsize
    least = config.learning_starts + config.batch_size + config.num_envs * (config.n_step + config.frame_stack + 1)
    rows = max(_REPLAY_BYTES // max(row, 1), least)
    return {"replay_capacity": min(config.replay_capacity, rows)}, f"an observation has {row:,} bytes"


RULES: tuple[Rule, ...] = (episodes, observations, numbers, rewards, exploration, start, memory)


def _is_table(environment: EnvironmentInfo) -> bool:
    finite = (DiscreteSpace, MultiDiscreteSpace, MultiBinarySpace)
    return all(isinstance(leaf.space, finite) for leaf in environment.observation_space.leaves)


def _sides_of_pictures(environment: EnvironmentInfo) -> Iterator[int]:
    """The second smallest dimension of each, the smallest being that of the channels."""
    for leaf in environment.observation_space.leaves:
        if isinstance(leaf.space, BoxSpace) and looks_like_image(leaf.space):
            yield sorted(leaf.space.tensor_shape)[-2]
