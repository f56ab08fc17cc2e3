"""training_curve.png: episode durations as in the PyTorch tutorial, returns, evaluations and collapse indicators."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dqn_training.learning.best import CheckpointScore
from dqn_training.learning.health import Health, warning
from dqn_training.learning.state import Episode

WINDOW = 100


def training_curve(
    title: str, episodes: Sequence[Episode], scores: Sequence[CheckpointScore], history: Sequence[Health]
) -> bytes:
    """The plot as PNG, top to bottom: durations with 100-episode mean, returns with greedy evaluations, indicators."""
    figure = Figure(figsize=(9, 10), layout="constrained")
    above, middle, below = figure.subplots(3, 1)
    draw_durations(above, episodes)
    above.set_title(title)
    steps = [episode.env_steps for episode in episodes]
    middle.plot(steps, [episode.total_reward for episode in episodes], ".", ms=3, alpha=0.4, label="training episode")
    middle.plot([s.env_steps for s in scores], [s.mean for s in scores], "o-", color="C3", label="greedy evaluation")
    middle.set_ylabel("return")
    middle.legend(loc="best")
    draw_health(below, history)
    below.sharex(middle)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def draw_durations(axes: Axes, episodes: Sequence[Episode]) -> None:
    """Plots durations by episode and, from 100 episodes on, the mean of the last 100."""
    durations = np.array([episode.length for episode in episodes], np.float64)
    axes.plot(np.arange(1, len(durations) + 1), durations, lw=0.8, label="duration")
    if len(durations) >= WINDOW:
        means = np.lib.stride_tricks.sliding_window_view(durations, WINDOW).mean(axis=1)
        axes.plot(np.arange(WINDOW, len(durations) + 1), means, lw=2, label=f"mean of the last {WINDOW}")
    axes.set(xlabel="episode", ylabel="duration (steps)")
    axes.legend(loc="upper left")


def draw_health(axes: Axes, history: Sequence[Health]) -> None:
    """Plots the collapse indicators over environment steps; shaded where the monitor warned."""
    steps = [health.env_steps for health in history]
    axes.plot(steps, [health.action_gap for health in history], color="C0", label="action gap")
    axes.plot(steps, [health.largest_q / 100 for health in history], color="C1", label="largest |Q-value| / 100")
    fractions = axes.twinx()
    fractions.plot(steps, [health.terminal_share for health in history], color="C2", label="terminals in replay")
    fractions.plot(steps, [health.dormant_share for health in history], color="C4", label="fraction of dormant units")
    fractions.set(ylabel="fractions", ylim=(-0.02, 1))
    for index in range(len(history)):
        if warning(history[: index + 1]):
            axes.axvspan(steps[max(index - 1, 0)], steps[index], color="C3", alpha=0.2, lw=0)
    axes.set(xlabel="environment steps", ylabel="Q-values")
    # Above the axes: inside it would cover the lines.
    handles = [*axes.get_lines(), *fractions.get_lines()]
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(handles), frameon=False)
