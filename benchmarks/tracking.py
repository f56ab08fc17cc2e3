"""What metrics.csv and TensorBoard cost: the share of a CartPole run's CPU time that is spent on them.

python benchmarks/tracking.py
"""

import tempfile
import time
from pathlib import Path

from dqn_training.envs.make import environment_for
from dqn_training.learning.best import CheckpointScore
from dqn_training.learning.state import TrainingState
from dqn_training.presets import preset_config
from dqn_training.run.challenger import train_challenger
from dqn_training.tracking.metrics_csv import MetricsFile
from dqn_training.tracking.recorder import Tracker, Tracking
from dqn_training.tracking.tensorboard import TensorBoardTracker


def measure(folder: Path, trackers: list[Tracker]) -> str:
    """Trains preset cartpole, seed 100, and says what its tracking cost."""
    config = preset_config("cartpole")
    spent = 0.0
    calls = 0
    process, thread = time.process_time(), time.thread_time()
    with Tracking(config, MetricsFile(folder / "metrics.csv"), trackers) as tracking:

        def watch(state: TrainingState, scores: list[CheckpointScore]) -> None:
            nonlocal spent, calls
            started = time.thread_time()
            tracking(state, scores)
            spent += time.thread_time() - started
            calls += 1

        train_challenger(config, "cartpole", environment_for(config), watch)
    whole, others = time.process_time() - process, time.process_time() - process - (time.thread_time() - thread)
    rows = len((folder / "metrics.csv").read_text().splitlines()) - 1
    return (
        f"{rows} rows, {calls} calls: {1e3 * spent:.1f} ms of {whole:.2f} s of CPU, {spent / whole:.2%}; "
        f"threads beside {1e3 * others:.1f} ms"
    )


def main() -> None:
    """Prints a line for metrics.csv alone and one for both."""
    with tempfile.TemporaryDirectory() as name:
        for label in ("csv", "csv and tensorboard"):
            folder = Path(name, label)
            trackers: list[Tracker] = [TensorBoardTracker(folder)] if "tensorboard" in label else []
            print(f"{label:<20} {measure(folder, trackers)}", flush=True)


if __name__ == "__main__":
    main()
