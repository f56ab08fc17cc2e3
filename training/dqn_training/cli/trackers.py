"""Who keeps the numbers of a run beside metrics.csv; TensorBoard and MLflow are imported only when asked for."""

import os
from typing import TYPE_CHECKING

from dqn_training.cli.running import needs_extra, wrong_usage
from dqn_training.cli.train_options import TrainOptions
from dqn_training.run.directory import RunDirectory

if TYPE_CHECKING:
    from dqn_training.tracking.recorder import Tracking

_MLFLOW = "--mlflow (or MLFLOW_TRACKING_URI)"


def check_trackers(options: TrainOptions) -> None:
    """Raises UsageError when a tracker that is asked for cannot be: its extra is missing, or MLflow refuses the URI."""
    if options.tensorboard:
        with needs_extra("--tensorboard", "tensorboard"):
            import dqn_training.tracking.tensorboard  # noqa: F401, PLC0415
    if uri := _mlflow_uri(options):
        with needs_extra(_MLFLOW, "mlflow"):
            from dqn_training.tracking.mlflow_run import check_uri  # noqa: PLC0415
        with wrong_usage():
            check_uri(uri)


def make_tracking(options: TrainOptions, run: RunDirectory) -> "Tracking":
    """The metrics file and the trackers; a resumed run goes on with those that it began with."""
    from dqn_training.tracking.metrics_csv import MetricsFile  # noqa: PLC0415
    from dqn_training.tracking.recorder import Tracker, Tracking  # noqa: PLC0415

    trackers: list[Tracker] = []
    if options.tensorboard or run.tensorboard.exists():
        with needs_extra("--tensorboard", "tensorboard"):
            from dqn_training.tracking.tensorboard import TensorBoardTracker  # noqa: PLC0415
        trackers.append(TensorBoardTracker(run.tensorboard))
    if _mlflow_uri(options) or run.mlflow.exists():
        with needs_extra(_MLFLOW, "mlflow"):
            from dqn_training.tracking.mlflow import MlflowTracker  # noqa: PLC0415
            from dqn_training.tracking.mlflow_run import MlflowRun, remembered  # noqa: PLC0415
        uri = str(remembered(run.mlflow).get("uri") or _mlflow_uri(options))
        params = {"preset": options.preset, **options.config.to_json()}
        served = MlflowRun(uri, run.mlflow, options.name or "", run.path.resolve().name, params)
        trackers.append(MlflowTracker(served, uri))
    return Tracking(options.config, MetricsFile(run.metrics), trackers)


def _mlflow_uri(options: TrainOptions) -> str | None:
    return options.mlflow or os.environ.get("MLFLOW_TRACKING_URI")
