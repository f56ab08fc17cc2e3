"""`--live-plot` during training; an end-to-end test checks that it draws in a real window."""

from typing import Any

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

from dqn_training.config import DQNConfig
from dqn_training.envs.make import environment_for
from dqn_training.run.run import Run
from dqn_training.tracking.live_plot import LivePlot


class ClosedWindow:
    """A figure whose window the user has closed."""

    def show(self) -> None:
        """It was open once."""

    def clear(self) -> None:
        """Raises as Tk does."""
        raise RuntimeError("application has been destroyed")


def test_closing_the_window_does_not_end_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user is warned once, and the run completes."""

    def figure(**_: Any) -> ClosedWindow:
        return ClosedWindow()

    monkeypatch.setattr(mpl, "get_backend", lambda: "tkagg")
    monkeypatch.setattr(plt, "figure", figure)
    config = DQNConfig("CartPole-v1", total_env_steps=300, learning_starts=50, eval_every=150, eval_episodes=2)
    plot = LivePlot("cartpole")
    assert Run(config, "general", environment_for(config), [plot]).train().env_steps >= 300
    plot.keep_open()
    assert capsys.readouterr().err.count("--live-plot stopped drawing: application has been destroyed") == 1
