"""`--live-plot`: plots the episode durations during training, in a window or in a notebook cell."""

import sys
import time

import matplotlib as mpl
from matplotlib import pyplot as plt

from dqn_training.learning.state import Episode, TrainingState
from dqn_training.run.callbacks import Callback
from dqn_training.tracking.curve import draw_durations

_SECONDS = 0.5


class LivePlot(Callback):
    """A callback that redraws a figure at most twice a second."""

    def __init__(self, title: str) -> None:
        """Opens the figure. Raises ValueError if there is neither a display nor a notebook."""
        self._notebook = "IPython" in sys.modules and "inline" in mpl.get_backend()
        if not self._notebook and mpl.get_backend().lower() == "agg":
            raise ValueError(
                "--live-plot needs a display, but Matplotlib found none (its backend is 'agg'). Without the flag, "
                "training_curve.png shows the same after training."
            )
        self._title = title
        self._figure = plt.figure(figsize=(9, 4), layout="constrained")
        self._drawn = 0.0
        self._lost = False
        self._episodes: list[Episode] = []
        if not self._notebook:
            self._figure.show()

    def step(self, state: TrainingState) -> None:
        """Redraws if there are new episodes, at most twice a second."""
        now = time.perf_counter()
        if self._lost or len(state.episodes) == len(self._episodes) or now - self._drawn < _SECONDS:
            return
        self._episodes = state.episodes.copy()
        try:
            self._draw("training")
        except Exception as error:  # noqa: BLE001  (window systems may raise anything once their window is closed)
            print(f"warning: --live-plot stopped drawing: {error}. Training continues.", file=sys.stderr)
            self._lost = True
        self._drawn = time.perf_counter()

    def end(self, state: TrainingState) -> None:
        """Stores the episodes of the whole run."""
        self._episodes = state.episodes

    def keep_open(self) -> None:
        """Shows the result until the window is closed."""
        if self._lost:
            return
        self._draw("result")
        if self._notebook:
            plt.close(self._figure)  # otherwise the notebook would show it again
        else:
            plt.show(block=True)

    def _draw(self, stage: str) -> None:
        """Draws the episodes so far; `stage` appears in the title."""
        self._figure.clear()
        axes = self._figure.subplots()
        draw_durations(axes, self._episodes)
        axes.set_title(f"{self._title}: {stage}")
        if self._notebook:
            from IPython import display  # noqa: PLC0415  (only a notebook has it)

            display.clear_output(wait=True)
            display.display(self._figure)
        else:
            self._figure.canvas.draw_idle()
            self._figure.canvas.flush_events()
