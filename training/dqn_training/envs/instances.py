"""Environments that allow only one instance per process, such as emulators, licences and fixed ports."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

from dqn_models.manifest import EnvironmentInfo
from dqn_training.config import DQNConfig
from dqn_training.envs.make import make_described
from dqn_training.envs.vector import is_native
from dqn_training.seeds import process_generators, restore_process_generators


def fit_instances(config: DQNConfig, environment: EnvironmentInfo, say: Callable[[str], None]) -> DQNConfig:
    """The settings, with one instance per process if the environment allows no more; `say` reports the change.

    Otherwise a run would train until its first evaluation, which opens instances in addition to those of training.
    """
    alone = config.num_envs == 1 or config.vectorization == "async"
    if (config.eval_envs == 1 and alone) or is_native(environment) or (problem := _second(environment)) is None:
        return config
    changes: dict[str, Any] = {"eval_envs": 1}
    how = "evaluations run in a separate process (--eval-envs 1)"
    if not alone:
        changes["vectorization"] = "async"
        how += f", as does each of the {config.num_envs} training environments (--vectorization async)"
    say(f"This environment allows only one instance per process, so {how}. The second one: {problem}")
    return dataclasses.replace(config, **changes)


def _second(environment: EnvironmentInfo) -> str | None:
    """The error of a second instance while the first is open; None if it works, or if the first one fails too.

    The process's random generators are left unchanged.
    """
    kept = process_generators()
    try:
        with contextlib.suppress(ValueError), contextlib.closing(make_described(environment)) as first:
            first.reset(seed=0)
            try:
                with contextlib.closing(make_described(environment)) as second:
                    second.reset(seed=0)
            except ValueError as error:  # FaultyEnvironmentError, or an error from Gymnasium
                return str(error)
        return None
    finally:
        restore_process_generators(kept)
