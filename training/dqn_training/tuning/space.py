"""The search space of `dqn-tune`: the settings that it varies and their ranges. All others keep the preset's values."""

import dataclasses
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from dqn_training.config import DQNConfig

Space = dict[str, BaseDistribution]
"""The distribution of each setting, by its name in DQNConfig."""

_DQN: Space = {
    "n_step": IntDistribution(1, 10),
    "train_every": CategoricalDistribution([1, 2, 4, 8]),
}
_PQN: Space = {
    "q_lambda": FloatDistribution(0.0, 1.0),
    "rollout_steps": CategoricalDistribution([16, 32, 64]),
    "rollout_epochs": IntDistribution(1, 4),
}


def search_space(base: DQNConfig) -> Space:
    """The settings to vary and their ranges, widened to include the base's values."""
    space: Space = {
        "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "gamma": CategoricalDistribution([0.9, 0.95, 0.98, 0.99, 0.995, 0.999]),
        "batch_size": CategoricalDistribution([32, 64, 128, 256]),
        "hidden_sizes": CategoricalDistribution(["64 64", "128 128", "256 256"]),
        "layer_norm": CategoricalDistribution([True, False]),
        **(_PQN if base.algorithm == "pqn" else _DQN),
    }
    if not base.noisy:  # noisy layers do not use epsilon
        steps = base.total_env_steps
        space["epsilon_decay_steps"] = FloatDistribution(0.02 * steps, 0.5 * steps, log=True)
        space["epsilon_end"] = FloatDistribution(0.01, 0.1, log=True)
    if base.target_update == "soft" and (base.algorithm == "dqn" or base.policy_weights == "averaged"):
        space["tau"] = FloatDistribution(1e-3, 5e-2, log=True)
    elif base.algorithm == "dqn":
        space["target_update_every"] = IntDistribution(50, 5_000, log=True)
    return {name: _with(values, parameters_of(base, space)[name]) for name, values in space.items()}


def parameters_of(config: DQNConfig, space: Space) -> dict[str, Any]:
    """A configuration as a point of the space."""
    values = {name: getattr(config, name) for name in space}
    return {name: " ".join(map(str, value)) if isinstance(value, tuple) else value for name, value in values.items()}


def suggest(trial: Trial, space: Space) -> dict[str, Any]:
    """The point of the space that the sampler suggests for a trial."""
    for name, values in space.items():
        match values:
            case CategoricalDistribution():
                trial.suggest_categorical(name, values.choices)
            case IntDistribution():
                trial.suggest_int(name, values.low, values.high, log=values.log)
            case FloatDistribution():
                trial.suggest_float(name, values.low, values.high, log=values.log)
    return trial.params


def configuration(base: DQNConfig, parameters: dict[str, Any]) -> DQNConfig:
    """The base with a point's settings, floats rounded to three significant digits. Raises ValueError as DQNConfig."""
    changes: dict[str, Any] = {
        name: float(f"{value:.3g}") if type(value) is float else value for name, value in parameters.items()
    }
    changes["hidden_sizes"] = tuple(map(int, changes["hidden_sizes"].split()))
    return dataclasses.replace(base, **changes)


def _with(values: BaseDistribution, value: Any) -> BaseDistribution:
    """The distribution, extended to include the value."""
    if isinstance(values, CategoricalDistribution):
        return values if value in values.choices else CategoricalDistribution([*values.choices, value])
    assert isinstance(values, IntDistribution | FloatDistribution)  # noqa: S101  (there are only these three kinds)
    return type(values)(min(values.low, value), max(values.high, value), log=values.log)
