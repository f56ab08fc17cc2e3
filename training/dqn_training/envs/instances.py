"""Environments of which a process can hold only one instance: emulators, licences, fixed ports."""

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
    """The settings, with one instance a process where an environment allows no more, which `say` gets in a sentence.

    Without that a run would train until its first evaluation, which opens instances beside those of training.
    """
    alone = config.num_envs == 1 or config.vectorization == "async"
    if (config.eval_envs == 1 and alone) or is_native(environment) or (problem := _second(environment)) is None:
        return config
    changes: dict[str, Any] = {"eval_envs": 1}
    how = "evaluations play in a process of their own (--eval-envs 1)"
    if not alone:
        changes["vectorization"] = "async"
        how += f", and each of the {config.num_envs} environments of training has one, too (--vectorization async)"
    say(f"A process can hold only one instance of this environment, so {how}. The second one: {problem}")
    return dataclasses.replace(config, **changes)


def _second(environment: EnvironmentInfo) -> str | None:
    """What a second instance fails with while the first is open; None where it works, or where the first one fails.

    The process's random generators stay as they were.
    """
    kept = process_generators()
    try:
        with contextlib.suppress(ValueError), contextlib.closing(make_described(environment)) as first:
            first.reset(seed=0)
            try:
                with contextlib.closing(make_described(environment)) as second:
                    second.reset(seed=0)
            except ValueError as error:  # FaultyEnvironmentError, or what Gymnasium says
                return str(error)
        return None
    finally:
        restore_process_generators(kept)
