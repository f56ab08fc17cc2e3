"""Live progress: a rich display on a terminal, plain lines elsewhere; both on standard error."""

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from dqn_training.config import DQNConfig
from dqn_training.learning.best import Selection
from dqn_training.learning.health import warning
from dqn_training.learning.state import TrainingState
from dqn_training.run.callbacks import Callback
from dqn_training.run.candidate import final_seconds, report_episodes

_TERMINAL_SECONDS = 0.2
_PLAIN_SECONDS = 5.0


class TrainingProgress(Callback):
    """Shows the progress of training, at most a few times a second; a context manager and a callback."""

    def __init__(self, config: DQNConfig, title: str) -> None:
        self._config = config
        self._title = title
        self._console = Console(stderr=True)
        self._seconds = _TERMINAL_SECONDS if self._console.is_terminal else _PLAIN_SECONDS
        self._shown = time.perf_counter()
        self._scores = 0
        self._warned = False
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task(title, total=1.0, status="")

    def __enter__(self) -> Self:
        """Starts the display, or restarts it after an exit."""
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Clears the display."""
        if self._console.is_terminal:
            self._bar.stop()

    def begin(self, _: TrainingState) -> None:
        """Prints the title if there is no progress bar."""
        if not self._console.is_terminal:
            self.say(f"{self._title}: at most {self._config.total_env_steps:,} environment steps")

    def step(self, state: TrainingState) -> None:
        """Shows the state from time to time, and after every evaluation."""
        now = time.perf_counter()
        evaluated = len(state.selection.scores) > self._scores
        if now - self._shown < self._seconds and not evaluated:
            return
        self._shown, self._scores = now, len(state.selection.scores)
        danger = warning(state.monitor.history)
        if danger and not self._warned:  # warn again only after it has passed
            self.say(danger)
        self._warned = danger is not None
        done, status = self._fraction(state), self._status(state)
        if self._console.is_terminal:
            self._bar.update(self._task, completed=done, status="  ".join(status), refresh=True)
        else:
            self.say(", ".join([*status, f"about {self._seconds_left(state, done):,.0f} s left"]))

    end = step

    def evaluating(self, state: TrainingState, steps: int, most: int) -> None:
        """Shows the progress of an evaluation from time to time."""
        self._playing(f"{state.env_steps:,} steps, evaluating: {steps:,} of at most {most:,} steps")

    def judging(self, purpose: str, steps: int) -> None:
        """Shows the progress of episodes played after training from time to time."""
        self._playing(f"training finished, {purpose}: {steps:,} steps")

    def _playing(self, text: str) -> None:
        now = time.perf_counter()
        if now - self._shown < self._seconds:
            return
        self._shown = now
        if self._console.is_terminal:
            self._bar.update(self._task, status=text, refresh=True)
        else:
            self._console.print(text, highlight=False, soft_wrap=True)

    def say(self, sentence: str) -> None:
        """Prints a sentence above the display."""
        self._console.print(sentence, highlight=False, soft_wrap=True, markup=False)

    def _fraction(self, state: TrainingState) -> float:
        by_steps = state.env_steps / self._config.total_env_steps
        by_episodes = len(state.episodes) / self._config.max_episodes if self._config.max_episodes else 0.0
        return min(max(by_steps, by_episodes), 1.0)

    def _seconds_left(self, state: TrainingState, done: float) -> float:
        """Estimated seconds left for training with its evaluations and for the final evaluation."""
        whole = state.wall_seconds / max(done, 1e-9)
        evaluations = state.selection
        steps = sum(score.episodes * score.mean_length for score in evaluations.scores)
        if not steps:
            return whole - state.wall_seconds
        mean_length = evaluations.scores[-1].mean_length
        seconds = report_episodes(self._config, mean_length) * mean_length * evaluations.seconds / steps
        final = min(seconds, final_seconds(self._config, whole))
        return whole - state.wall_seconds + final

    def _status(self, state: TrainingState) -> list[str]:
        status = [f"{state.env_steps:,} steps", f"{len(state.episodes):,} episodes"]
        if state.episodes:
            status.append(f"training return {_shown(state.recent('total_reward'))}")
        if state.selection.scores:
            status.append(f"evaluation return {self._score(state.selection)}")
        if not self._config.noisy:
            status.append(f"random actions {state.epsilon:.0%}")
        if state.loss is not None:
            status.append(f"loss {float(state.loss.mean()):.3g}")
        return [*status, f"{state.env_steps / max(state.wall_seconds, 1e-9):,.0f} steps/s"]

    def _score(self, selection: Selection) -> str:
        """The latest evaluation as text."""
        latest, notes = selection.scores[-1], []
        if latest.cut:
            notes.append(f"{latest.cut} of {latest.episodes} episodes truncated")
        if selection.random_mean is not None:
            notes.append(f"random policy {_shown(selection.random_mean)}")
        return f"{_shown(latest.mean)} ({', '.join(notes)})" if notes else _shown(latest.mean)


def _shown(value: float) -> str:
    """A mean return with enough digits to show changes."""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
