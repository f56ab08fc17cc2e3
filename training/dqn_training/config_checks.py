"""What a configuration must satisfy: each condition with the sentence that says so."""

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dqn_training.config import DQNConfig


def check_config(config: "DQNConfig") -> None:
    """Raises ValueError with a sentence that names the field, its value and what is allowed."""
    for sentence in (*_ranges(config), *_layers(config), *_sizes(config), *_contradictions(config), *_pqn(config)):
        raise ValueError(sentence)


def _ranges(config: "DQNConfig") -> Iterator[str]:
    for name, low in _AT_LEAST.items():
        value = getattr(config, name)
        if value is not None and not value >= low:
            yield f"{name} is {value}; it must be at least {low}."
    for name in _SHARES:
        if not 0 <= getattr(config, name) <= 1:
            yield f"{name} is {getattr(config, name)}; it must lie between 0 and 1."
    for name in _POSITIVE:
        value = getattr(config, name)
        if value is not None and not 0 < value < math.inf:
            yield f"{name} is {value}; it must be a number above 0."
    if not 0 < config.tau <= 1:
        yield f"tau is {config.tau}; it must be above 0 and at most 1."


def _layers(config: "DQNConfig") -> Iterator[str]:
    if not config.hidden_sizes or min(config.hidden_sizes) < 1:
        yield f"hidden_sizes is {config.hidden_sizes}; it needs at least one width, each at least 1."
    for text in config.conv_layers:
        if not re.fullmatch("[1-9][0-9]*x[1-9][0-9]*x[1-9][0-9]*", text):
            yield f"conv_layers has {text!r}; each is FILTERSxKERNELxSTRIDE, such as 32x8x4."


def _sizes(config: "DQNConfig") -> Iterator[str]:
    if config.algorithm == "pqn":
        rollout = config.num_envs * config.rollout_steps
        if config.batch_size > rollout:
            yield (
                f"batch_size is {config.batch_size}; with algorithm 'pqn' it must be at most num_envs x rollout_steps "
                f"= {rollout}."
            )
        return
    if config.batch_size > config.replay_capacity:
        yield (
            f"batch_size is {config.batch_size}; it must be at most replay_capacity, which is {config.replay_capacity}."
        )
    rows = config.num_envs * (config.n_step + 2)
    if config.replay_capacity < max(config.learning_starts, config.batch_size) + rows:
        yield (
            f"replay_capacity is {config.replay_capacity}; it must exceed learning_starts ({config.learning_starts}) "
            f"and batch_size ({config.batch_size}) by num_envs x (n_step + 2) = {rows}."
        )


def _contradictions(config: "DQNConfig") -> Iterator[str]:
    if config.epsilon_end > config.epsilon_start:
        yield (
            f"epsilon_end is {config.epsilon_end}; it must be at most epsilon_start, which is {config.epsilon_start}."
        )
    if config.policy_weights == "averaged" and config.target_update != "soft":
        yield (
            "policy_weights is 'averaged', which needs target_update 'soft': a periodic copy is no average; "
            "allowed is 'learned'."
        )
    if config.weight_decay and config.optimizer == "adam":
        yield f"weight_decay is {config.weight_decay}; it needs optimizer adamw or adamw-amsgrad."
    if not -math.inf < config.v_min < config.v_max < math.inf:
        yield f"v_min is {config.v_min}; it must be a number below v_max, which is {config.v_max}."
    if config.loss == "squared" and config.distribution != "none":
        yield (
            f"loss is 'squared', which needs distribution 'none': {config.distribution} has its own; allowed is "
            "'huber'."
        )


def _pqn(config: "DQNConfig") -> Iterator[str]:
    if config.algorithm != "pqn":
        return
    if config.prioritized:
        yield "prioritized is True, which needs algorithm 'dqn': PQN has no replay buffer to draw from."
    if config.distribution != "none":
        yield f"distribution is '{config.distribution}', which needs algorithm 'dqn': PQN learns mean returns."
    if config.noisy:
        yield "noisy is True, which needs algorithm 'dqn': PQN explores by epsilon."


_SHARES = (
    "gamma",
    "epsilon_start",
    "epsilon_end",
    "warm_epsilon",
    "priority_exponent",
    "importance_exponent",
    "q_lambda",
)

_POSITIVE = ("learning_rate", "gradient_clip_at", "epsilon_decay_steps", "learning_rate_end", "noisy_sigma")

_AT_LEAST = {
    "frame_stack": 1,
    "num_envs": 1,
    "seed": 0,
    "total_env_steps": 1,
    "max_episodes": 1,
    "atoms": 2,
    "replay_capacity": 1,
    "learning_starts": 1,
    "batch_size": 1,
    "train_every": 1,
    "n_step": 1,
    "rollout_steps": 1,
    "rollout_epochs": 1,
    "weight_decay": 0,
    "target_update_every": 1,
    "log_every": 1,
    "eval_every": 1,
    "eval_episodes": 1,
    "stop_evaluations": 1,
    "gate_episodes": 2,
    "report_episodes": 2,
    "episode_step_limit": 1,
}
