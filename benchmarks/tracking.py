"""The cost of metrics.csv and TensorBoard: the fraction of a CartPole run's CPU time spent on them.

python benchmarks/tracking.py
"""

import contextlib
import tempfile
import time
from pathlib import Path

from dqn_training.envs.make import environment_for
from dqn_training.learning.state import TrainingState
from dqn_training.presets import preset_config
from dqn_training.run.callbacks import Callback
from dqn_training.run.run import Run
from dqn_training.tracking.metrics_csv import MetricsFile
from dqn_training.tracking.recorder import Recorder, Tracker
from dqn_training.tracking.tensorboard import TensorBoardTracker


class Timed(Callback):
    """Measures the CPU time of another callback."""

    def __init__(self, inner: Callback) -> None:
        self._inner, self.spent, self.calls = inner, 0.0, 0
        self.begin, self.end = inner.begin, inner.end  # type: ignore[method-assign]  # only steps are measured

    def step(self, state: TrainingState) -> None:
        """Passes the step on and measures it."""
        started = time.thread_time()
        self._inner.step(state)
        self.spent += time.thread_time() - started
        self.calls += 1


def measure(folder: Path, trackers: list[Tracker]) -> str:
    """Trains preset cartpole and reports the cost of tracking."""
    config = preset_config("cartpole")
    process, thread = time.process_time(), time.thread_time()
    with contextlib.closing(Recorder(config, MetricsFile(folder / "metrics.csv"), trackers)) as recorder:
        timed = Timed(recorder)
        Run(config, "cartpole", environment_for(config), [timed]).train()
    whole, others = time.process_time() - process, time.process_time() - process - (time.thread_time() - thread)
    rows = len((folder / "metrics.csv").read_text().splitlines()) - 1
    return (
        f"{rows} rows, {timed.calls} calls: {1e3 * timed.spent:.1f} ms of {whole:.2f} s of CPU, "
        f"{timed.spent / whole:.2%}; other threads {1e3 * others:.1f} ms"
    )


def main() -> None:
    """Prints one line for metrics.csv alone and one for both."""
    with tempfile.TemporaryDirectory() as name:
        for label in ("csv", "csv and tensorboard"):
            folder = Path(name, label)
            trackers: list[Tracker] = [TensorBoardTracker(folder)] if "tensorboard" in label else []
            print(f"{label:<20} {measure(folder, trackers)}", flush=True)


if __name__ == "__main__":
    main()
