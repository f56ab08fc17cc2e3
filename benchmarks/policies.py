"""Barely trained policies, for benchmarks of serving in which their quality does not matter."""

from pathlib import Path

from dqn_models.repository import ModelRepository
from dqn_training.config import DQNConfig
from dqn_training.envs.make import environment_for
from dqn_training.publishing.publish import publish
from dqn_training.run.run import Run

_FEW = {"total_env_steps": 2_000, "learning_starts": 1_900, "replay_capacity": 5_000, "episode_step_limit": 50}
_ONCE = {"eval_episodes": 1, "report_episodes": 2, "gate_episodes": 2}


def publish_hardly_trained(repository: Path, config: DQNConfig, model: str = "cartpole", versions: int = 1) -> None:
    """Publishes `versions` equal versions of a model; the first one is the champion."""
    changed = DQNConfig(**(vars(config) | _FEW | _ONCE))
    candidate = Run(changed, "general", environment_for(changed)).train()
    for _ in range(versions):
        publish(candidate, ModelRepository(repository), model, "superior", "benchmark")


def cartpole(width: int) -> DQNConfig:
    """CartPole with two hidden layers of `width` units: 4-width-width-2."""
    return DQNConfig(hidden_sizes=(width, width), layer_norm=False)
