"""training_curve.png: episode durations, returns and evaluations over the run, as the PyTorch tutorial plots them."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.learning.selection import CheckpointScore
from training.learning.state import Episode

WINDOW = 100


def training_curve(title: str, episodes: Sequence[Episode], scores: Sequence[CheckpointScore]) -> bytes:
    """The picture as PNG: durations with their 100-episode mean above, returns and greedy evaluations below."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1)
    draw_durations(above, episodes)
    above.set_title(title)
    steps = [episode.env_steps for episode in episodes]
    below.plot(steps, [episode.total_reward for episode in episodes], ".", ms=3, alpha=0.4, label="training episode")
    below.plot([s.env_steps for s in scores], [s.mean for s in scores], "o-", color="C3", label="greedy evaluation")
    below.set_xlabel("environment steps")
    below.set_ylabel("return")
    below.legend(loc="best")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def draw_durations(axes: Axes, episodes: Sequence[Episode]) -> None:
    """Durations by episode and, from 100 episodes on, the mean of the last 100."""
    durations = np.array([episode.length for episode in episodes], np.float64)
    axes.plot(np.arange(1, len(durations) + 1), durations, lw=0.8, label="duration")
    means = moving_mean(durations)
    if len(means):
        axes.plot(np.arange(WINDOW, len(durations) + 1), means, lw=2, label=f"mean of the last {WINDOW}")
    axes.set_xlabel("episode")
    axes.set_ylabel("duration (steps)")
    axes.legend(loc="upper left")


def moving_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of each WINDOW successive values, [len - WINDOW + 1], or empty where there are fewer."""
    if len(values) < WINDOW:
        return np.empty(0)
    sums = np.cumsum(np.concatenate([[0.0], values]))
    means: NDArray[np.float64] = (sums[WINDOW:] - sums[:-WINDOW]) / WINDOW
    return means
