"""The rules of the preset `general`; docs/ablation.md has the evidence for each.

A rule takes the settings so far, the environment and the result of the probe, and returns settings with the reason.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from dqn_models.manifest import EnvironmentInfo
from dqn_models.spaces import BoxSpace, DiscreteSpace, MultiBinarySpace, MultiDiscreteSpace
from dqn_training.choosing.probe import ProbeResult
from dqn_training.config import DQNConfig
from dqn_training.networks.encoders import looks_like_image
from dqn_training.replay.frames import stored_dtype

Choice = tuple[dict[str, Any], str]
Rule = Callable[[DQNConfig, EnvironmentInfo, ProbeResult], Choice]

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
"""For finite observations: states that share no features do not interfere, so that learning can be fast."""
_EPISODES_EACH = 4
_UNKNOWN_LENGTH = 1_000  # assumed steps of an episode that has no time limit and did not end
_LARGE_IMAGE = 36  # pixels
_SHORT_RUN = 500_000  # environment steps
_USUAL_REWARDS = (0.1, 5.0)
_USUAL_FEATURES = (0.1, 5.0)
_RARE = 0.02
_STARTS = 20
_REPLAY_BYTES = 2 * 10**9


def episodes(config: DQNConfig, environment: EnvironmentInfo, found: ProbeResult) -> Choice:
    """Fewer environments if episodes are long, so that each finishes several."""
    length = found.episode_length
    if math.isinf(length):
        length = environment.max_episode_steps or _UNKNOWN_LENGTH
    limit = max(1, int(config.total_env_steps // (_EPISODES_EACH * length)))
    return {"num_envs": min(config.num_envs, limit)}, f"episodes have about {length:,.0f} steps"


def observations(config: DQNConfig, environment: EnvironmentInfo, _: ProbeResult) -> Choice:
    """Settings for finite observations, images, or features.

    Multi-step returns include the rewards of exploratory actions, which hurts tables, where these are often costly. In
    short runs, small images are learned faster as flat features, and a gradient step with convolutions takes three
    times as long.
    """
    if _is_finite(environment):
        return _TABLE, "observations are finite"
    settings: dict[str, Any] = {"n_step": 3, "batch_size": 64}
    largest = max(_image_sizes(environment), default=0)
    if not largest:
        return settings, "observations are features"
    if largest < _LARGE_IMAGE and config.total_env_steps <= _SHORT_RUN and not config.conv_layers:
        return settings | {"network": "mlp"}, "observations are small images, and the run is short"
    settings |= {"layer_norm": False, "batch_size": 32}
    if largest >= _LARGE_IMAGE:
        settings |= {"train_every": 8, "learning_rate": 1e-4}
    return settings, "observations are images"


def features(_: DQNConfig, __: EnvironmentInfo, found: ProbeResult) -> Choice:
    """Normalizes features whose scale does not suit the network's initial weights."""
    low, high = _USUAL_FEATURES
    if not found.feature_scale or low <= found.feature_scale <= high:
        return _NOTHING
    return {"normalize": True}, f"features have a root mean square of {found.feature_scale:.3g}"


def rewards(config: DQNConfig, _: EnvironmentInfo, found: ProbeResult) -> Choice:
    """Scales rewards to about 1, which suits the loss and the optimizer; not for c51, whose atoms fix the scale."""
    low, high = _USUAL_REWARDS
    if (
        config.clip_rewards
        or config.distribution == "c51"
        or not found.reward_scale
        or low <= found.reward_scale <= high
    ):
        return _NOTHING
    return {
        "reward_scale": 10.0 ** -round(math.log10(found.reward_scale))
    }, f"rewards have a root mean square of {found.reward_scale:.3g}"


def exploration(config: DQNConfig, _: EnvironmentInfo, found: ProbeResult) -> Choice:
    """Explores for a quarter of the run, or half of it if random actions rarely change the reward."""
    rare = found.rewarded < _RARE
    steps = max(1.0, config.total_env_steps // (2 if rare else 4))
    return {"epsilon_decay_steps": steps}, f"random actions are {'rarely' if rare else 'often'} rewarded"


def start(config: DQNConfig, _: EnvironmentInfo, __: ProbeResult) -> Choice:
    """Starts learning early in a short run."""
    early = max(config.batch_size, config.total_env_steps // _STARTS)
    return {"learning_starts": min(config.learning_starts, early)}, f"the run has {config.total_env_steps:,} steps"


def memory(config: DQNConfig, environment: EnvironmentInfo, _: ProbeResult) -> Choice:
    """Bounds the memory of replay."""
    row = stored_dtype(environment).itemsize
    minimum = config.learning_starts + config.batch_size + config.num_envs * (config.n_step + config.frame_stack + 1)
    rows = max(_REPLAY_BYTES // max(row, 1), minimum)
    return {"replay_capacity": min(config.replay_capacity, rows)}, f"an observation has {row:,} bytes"


RULES: tuple[Rule, ...] = (episodes, observations, features, rewards, exploration, start, memory)


def _is_finite(environment: EnvironmentInfo) -> bool:
    finite = (DiscreteSpace, MultiDiscreteSpace, MultiBinarySpace)
    return all(isinstance(leaf.space, finite) for leaf in environment.observation_space.leaves)


def _image_sizes(environment: EnvironmentInfo) -> Iterator[int]:
    """The smaller of height and width of each image, i.e. its second smallest dimension, after the channels."""
    for leaf in environment.observation_space.leaves:
        if isinstance(leaf.space, BoxSpace) and looks_like_image(leaf.space):
            yield sorted(leaf.space.tensor_shape)[-2]
