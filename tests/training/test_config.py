"""Settings: invalid ones are refused with a sentence that names the field, the value and what is allowed."""

import json
from typing import Any

import pytest

from dqn_training.config import DQNConfig
from dqn_training.presets import default_preset, preset_config, preset_names

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"gamma": 1.5}, "gamma is 1.5; it must lie between 0 and 1."),
    ({"gamma": float("nan")}, "gamma is nan; it must lie between 0 and 1."),
    ({"epsilon_start": -0.1}, "epsilon_start is -0.1; it must lie between 0 and 1."),
    ({"epsilon_start": 0.1, "epsilon_end": 0.2}, "epsilon_end is 0.2; it must be at most epsilon_start, which is 0.1."),
    ({"epsilon_decay_steps": 0}, "epsilon_decay_steps is 0; it must be a number above 0."),
    ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be a number above 0."),
    ({"learning_rate": float("inf")}, "learning_rate is inf; it must be a number above 0."),
    ({"tau": 0.0}, "tau is 0.0; it must be above 0 and at most 1."),
    ({"num_envs": 0}, "num_envs is 0; it must be at least 1."),
    ({"n_step": 0}, "n_step is 0; it must be at least 1."),
    ({"seed": -1}, "seed is -1; it must be at least 0."),
    ({"max_episodes": 0}, "max_episodes is 0; it must be at least 1."),
    ({"hidden_sizes": ()}, "hidden_sizes is (); expected at least one width, each at least 1."),
    ({"hidden_sizes": (64, 0)}, "hidden_sizes is (64, 0); expected at least one width, each at least 1."),
    ({"batch_size": 200_000}, "batch_size is 200000; it must be at most replay_capacity, which is 100000."),
    ({"replay_capacity": 1_050}, "replay_capacity is 1050; it must exceed learning_starts (1000)"),
    ({"target_update": "periodic"}, "policy_weights is 'averaged', which needs target_update 'soft'"),
    ({"v_min": 3.0, "v_max": 3.0}, "v_min is 3.0; it must be a number below v_max, which is 3.0."),
    ({"atoms": 1}, "atoms is 1; it must be at least 2."),
    ({"priority_exponent": 1.5}, "priority_exponent is 1.5; it must lie between 0 and 1."),
    ({"distribution": "c51", "loss": "squared"}, "loss is 'squared', which needs distribution 'none'"),
    ({"algorithm": "pqn", "prioritized": True}, "prioritized is True, which needs algorithm 'dqn'"),
    ({"algorithm": "pqn", "distribution": "c51"}, "distribution is 'c51', which needs algorithm 'dqn'"),
    ({"algorithm": "pqn", "noisy": True}, "noisy is True, which needs algorithm 'dqn'"),
    ({"algorithm": "pqn", "batch_size": 1_000}, "batch_size is 1000; with algorithm 'pqn' it must be at most"),
    ({"weight_decay": 0.1}, "weight_decay is 0.1; it needs optimizer adamw or adamw-amsgrad."),
]


@pytest.mark.parametrize(("changes", "sentence"), WRONG)
def test_a_wrong_value_is_refused_with_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    """No DQNConfig with such a value exists; the message begins with the field and its value."""
    with pytest.raises(ValueError, match=r"must|needs|expected") as caught:
        DQNConfig(**changes)
    assert str(caught.value).startswith(sentence)


def test_every_preset_survives_its_json_form() -> None:
    """A configuration survives being stored in the manifest."""
    for config in map(preset_config, preset_names()):
        assert DQNConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_fields_of_a_newer_release_are_left_out() -> None:
    """A configuration from a manifest with an unknown field is read without it."""
    assert DQNConfig.from_json({"gamma": 0.9, "not_yet_invented": 1}) == DQNConfig(gamma=0.9)


def test_the_tutorial_preset_is_the_tutorial() -> None:
    """The preset has every number of the starting system."""
    tutorial = preset_config("tutorial")
    assert (tutorial.num_envs, tutorial.hidden_sizes, tutorial.layer_norm) == (1, (128, 128), False)
    assert (tutorial.replay_capacity, tutorial.batch_size, tutorial.learning_starts) == (10_000, 128, 128)
    assert (tutorial.train_every, tutorial.n_step, tutorial.double_dqn) == (1, 1, False)
    assert (tutorial.gamma, tutorial.loss, tutorial.tau, tutorial.target_update) == (0.99, "huber", 0.005, "soft")
    assert (tutorial.optimizer, tutorial.learning_rate, tutorial.weight_decay) == ("adamw-amsgrad", 1e-4, 0.01)
    assert (tutorial.gradient_clip, tutorial.gradient_clip_at, tutorial.max_episodes) == ("value", 100.0, 200)


@pytest.mark.parametrize(
    ("env_id", "preset"),
    [
        (None, "cartpole"),
        ("CartPole-v1", "cartpole"),
        ("LunarLander-v3", "lunarlander"),
        ("MinAtar/Breakout-v1", "minatar-breakout"),
        ("ale_py:ALE/Pong-v5", "breakout"),
        ("MinAtar/Asterix-v1", "general"),
        ("Taxi-v3", "general"),
    ],
)
def test_an_environment_has_a_default_preset(env_id: str | None, preset: str) -> None:
    """Environments with a preset have it, Atari's games share one, any other environment has the general one."""
    assert default_preset(env_id) == preset
