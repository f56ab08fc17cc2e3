"""The search space: it contains every preset, and every point of it is a valid configuration."""

import optuna
import pytest

from dqn_training.presets import preset_config, preset_names
from dqn_training.tuning.space import configuration, parameters_of, search_space


@pytest.mark.parametrize("preset", preset_names())
def test_a_preset_is_a_point_of_its_own_space(preset: str) -> None:
    """The first trial is the preset itself, whatever it is; later trials differ only in these settings."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    base = preset_config(preset)
    space = search_space(base)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(parameters_of(base, space))
    assert configuration(base, study.ask(space).params) == base
    for _ in range(20):
        point = study.ask(space).params
        found = configuration(base, point)
        assert {name for name in vars(base) if getattr(found, name) != getattr(base, name)} <= space.keys()
        assert found.gamma == point["gamma"]
