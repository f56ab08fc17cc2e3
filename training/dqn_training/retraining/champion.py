"""What retraining takes over from the champion: its configuration."""

import dataclasses

from dqn_models.repository import ModelRepository
from dqn_training.config import DQNConfig


def champion_config(repository: ModelRepository, model: str) -> tuple[DQNConfig, str] | None:
    """The configuration (but for the seed) and preset of the champion; None when there is no champion.

    Fields that this release does not know are left out, missing ones have their defaults.
    """
    champion = repository.alias(model)
    if champion is None:
        return None
    training = repository.manifest(model, champion).training
    return dataclasses.replace(DQNConfig.from_json(training.config), seed=0), training.preset


def round_seed(repository: ModelRepository, model: str, config: DQNConfig) -> DQNConfig:
    """The configuration with a seed of its own for the next version, so that rounds do not repeat each other."""
    return dataclasses.replace(config, seed=config.seed + max(repository.versions(model), default=0) + 1)
