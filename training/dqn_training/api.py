"""The Python API for notebooks and scripts: train, evaluate and publish, as the commands do."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dqn_models.cli_support import default_repository
from dqn_models.repository import ModelRepository
from dqn_training.choosing import CHOOSES, choose_settings
from dqn_training.config import DQNConfig
from dqn_training.envs.instances import fit_instances
from dqn_training.envs.make import environment_for
from dqn_training.evaluation.gate import Rule
from dqn_training.presets import default_model_name, default_preset, preset_config
from dqn_training.publishing import publish as publishing
from dqn_training.publishing.trials import play_test_episodes
from dqn_training.run.callbacks import Callback
from dqn_training.run.candidate import Candidate
from dqn_training.run.resources import check_machine
from dqn_training.run.run import Run

evaluate = play_test_episodes


def train(env_id_or_config: str | DQNConfig, *, callbacks: Sequence[Callback] = (), **settings: Any) -> Candidate:
    """Trains a policy and returns the best checkpoint; nothing is written to disk.

    An environment id selects its default preset; the preset `general` chooses whatever `settings` leave open and
    reports its choices on standard error. `settings` are fields of DQNConfig, e.g. `seed=1`.

    Raises ValueError if settings are invalid or do not fit the machine, and whatever Run.train raises.
    """
    preset = "custom"
    if isinstance(env_id_or_config, str):
        preset, settings = default_preset(env_id_or_config), {"env_id": env_id_or_config, **settings}
        env_id_or_config = preset_config(preset)
    config = dataclasses.replace(env_id_or_config, **settings)
    environment = environment_for(config)
    if preset == CHOOSES:
        config, lines = choose_settings(config, environment, settings)
        for line in lines:
            _say(f"{CHOOSES}: {line}")
    config = fit_instances(config, environment, _say)
    check_machine(config, environment)
    return Run(config, preset, environment, callbacks).train()


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def publish(
    candidate: Candidate, name: str | None = None, repository: Path | str | None = None, gate: Rule = "non-inferior"
) -> publishing.Published:
    """Publishes a candidate as the next version of a model, and promotes it if it passes the gate.

    `name` and `repository` default as in `dqn-train`. Raises what `publishing.publish.publish` raises.
    """
    store = ModelRepository(repository or default_repository())
    return publishing.publish(candidate, store, name or default_model_name(candidate.config.env_id), gate, "python")
