"""Support for the training commands: usage errors, automatic choices and trackers."""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from typing import TypeVar

from dqn_models import cli_support
from dqn_models.cli_support import needs_extra
from dqn_models.manifest import EnvironmentInfo
from dqn_training.choosing import CHOOSES, choose_settings
from dqn_training.choosing.probe import probe_steps
from dqn_training.cli.options import RetrainOptions, TuneOptions
from dqn_training.cli.train_options import TrainOptions
from dqn_training.envs.checks import FaultyEnvironmentError
from dqn_training.envs.instances import fit_instances
from dqn_training.run.directory import RunDirectory
from dqn_training.run.resources import check_machine
from dqn_training.tracking.recorder import Tracker

Options = TypeVar("Options", TrainOptions, RetrainOptions, TuneOptions)

_MLFLOW = "--mlflow (or MLFLOW_TRACKING_URI)"


@contextlib.contextmanager
def wrong_usage() -> Iterator[None]:
    """Converts ValueError to UsageError; FaultyEnvironmentError passes through."""
    try:
        yield
    except FaultyEnvironmentError:
        raise
    except ValueError as error:
        raise cli_support.UsageError(str(error)) from error


def fitted(options: Options, environment: EnvironmentInfo) -> Options:
    """The options with the preset's choices and with as many instances per process as the environment allows.

    Choices are reported on standard error. Raises ValueError if the machine cannot hold the run.
    """
    options = with_choices(options, environment)
    config = fit_instances(options.config, environment, lambda line: print(line, file=sys.stderr))
    check_machine(config, environment)
    return dataclasses.replace(options, config=config)


def with_choices(options: Options, environment: EnvironmentInfo) -> Options:
    """The options with the choices of the preset `general`, which are reported on standard error with their reasons.

    Other presets, PQN, and settings of an earlier run are left unchanged.
    """
    if options.given is None or options.preset != CHOOSES or options.config.algorithm == "pqn":
        return options
    print(f"{CHOOSES}: probes the environment with {probe_steps(options.config):,} random steps", file=sys.stderr)
    config, lines = choose_settings(options.config, environment, options.given)
    for line in lines:
        print(f"{CHOOSES}: {line}", file=sys.stderr)
    return dataclasses.replace(options, config=config)


def check_trackers(options: TrainOptions) -> None:
    """Raises UsageError if a requested tracker's extra is missing or MLflow rejects the URI."""
    if options.tensorboard:
        with needs_extra("--tensorboard", "tensorboard"):
            import dqn_training.tracking.tensorboard  # noqa: F401, PLC0415  (an extra)
    if uri := _mlflow_uri(options):
        with needs_extra(_MLFLOW, "mlflow"):
            from dqn_training.tracking.mlflow_tracker import check_uri  # noqa: PLC0415  (an extra)
        with wrong_usage():
            check_uri(uri)


def make_trackers(options: TrainOptions, run: RunDirectory) -> list[Tracker]:
    """The requested trackers, and those that a resumed run started with."""
    trackers: list[Tracker] = []
    if options.tensorboard or run.tensorboard.exists():
        with needs_extra("--tensorboard", "tensorboard"):
            from dqn_training.tracking.tensorboard import TensorBoardTracker  # noqa: PLC0415  (an extra)
        trackers.append(TensorBoardTracker(run.tensorboard))
    if _mlflow_uri(options) or run.mlflow.exists():
        with needs_extra(_MLFLOW, "mlflow"):
            from dqn_training.tracking.mlflow_tracker import MlflowTracker, saved_run  # noqa: PLC0415  (an extra)
        uri = str(saved_run(run.mlflow).get("uri") or _mlflow_uri(options))
        params = {"preset": options.preset, **options.config.to_json()}
        trackers.append(MlflowTracker(uri, run.mlflow, options.name, run.path.resolve().name, params))
    return trackers


def _mlflow_uri(options: TrainOptions) -> str | None:
    return options.mlflow or os.environ.get("MLFLOW_TRACKING_URI")
