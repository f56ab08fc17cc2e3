"""Environments that allow only one instance per process are noticed before training."""

from typing import Any

import pytest

from dqn_training.api import train
from dqn_training.config import DQNConfig
from dqn_training.envs.instances import fit_instances
from dqn_training.envs.make import environment_for

ENVIRONMENTS = "tests.training.environments"
SINGLE = f"{ENVIRONMENTS}:Single-v0"


def fitted(said: list[str], env_id: str, kwargs: dict[str, Any], **settings: Any) -> DQNConfig:
    """The settings for an environment; messages about them are appended."""
    config = DQNConfig(env_id, kwargs, **settings)
    return fit_instances(config, environment_for(config), said.append)


@pytest.mark.parametrize("opens", ["made", "reset"])
@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ({"num_envs": 1}, {"vectorization": "auto"}),
        ({"num_envs": 16}, {"vectorization": "async"}),
        ({"num_envs": 16, "vectorization": "sync"}, {"vectorization": "async"}),
        ({"num_envs": 16, "vectorization": "async"}, {"vectorization": "async"}),
        ({"num_envs": 16, "eval_envs": 1}, {"vectorization": "async"}),
    ],
)
def test_one_instance_per_process_is_noticed_and_reported(
    opens: str, asked: dict[str, Any], chosen: dict[str, Any]
) -> None:
    """If creating or resetting a second one fails, evaluations and training environments get their own processes."""
    said: list[str] = []
    config = fitted(said, SINGLE, {"opens": opens}, **asked)
    assert config == DQNConfig(SINGLE, {"opens": opens}, **{**asked, **chosen, "eval_envs": 1})
    assert len(said) == 1
    assert "--eval-envs 1" in said[0]
    assert "close the other one first" in said[0]


@pytest.mark.parametrize(
    ("env_id", "kwargs", "settings"),
    [
        ("CartPole-v1", {}, {}),
        (f"{ENVIRONMENTS}:Countdown-v0", {}, {}),
        (f"{ENVIRONMENTS}:Faulty-v0", {"fault": "reset"}, {"action_masks": "off"}),
        (SINGLE, {}, {"num_envs": 1, "eval_envs": 1}),
    ],
)
def test_other_environments_keep_their_settings(env_id: str, kwargs: dict[str, Any], settings: dict[str, Any]) -> None:
    """Those that allow several instances, those that fail alone, and those with explicit settings."""
    said: list[str] = []
    assert fitted(said, env_id, kwargs, **settings) == DQNConfig(env_id, kwargs, **settings)
    assert said == []


def test_training_in_python_does_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """Without any setting for it."""
    candidate = train(SINGLE, total_env_steps=300, learning_starts=128)
    assert candidate.config.eval_envs == 1
    assert "only one instance" in capsys.readouterr().err
