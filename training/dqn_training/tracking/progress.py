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
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task(title, total=1.0, facts="")

    def __enter__(self) -> Self:
        """Begins to show, or continues after an end."""
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Clears the display."""
        if self._console.is_terminal:
            self._bar.stop()

    def begin(self, _: TrainingState) -> None:
        """Says what begins, where no bar has it."""
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
        if danger and not self._warned:  # again only after it has passed
            self.say(danger)
        self._warned = danger is not None
        done, facts = self._fraction(state), self._facts(state)
        if self._console.is_terminal:
            self._bar.update(self._task, completed=done, facts="  ".join(facts), refresh=True)
        else:
            self.say(", ".join([*facts, f"about {self._seconds_left(state, done):,.0f} s left"]))

    end = step

    def evaluating(self, state: TrainingState, steps: int, most: int) -> None:
        """Shows from time to time how far an evaluation is."""
        self._playing(f"{state.env_steps:,} steps, evaluating: {steps:,} of at most {most:,} steps")

    def judging(self, purpose: str, steps: int) -> None:
        """Shows from time to time how far the episodes are that are played after training."""
        self._playing(f"training is done, {purpose}: {steps:,} steps")

    def _playing(self, text: str) -> None:
        now = time.perf_counter()
        if now - self._shown < self._seconds:
            return
        self._shown = now
        if self._console.is_terminal:
            self._bar.update(self._task, facts=text, refresh=True)
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
        """Of training with its evaluations, and of the final one."""
        whole = state.wall_seconds / max(done, 1e-9)
        evaluations = state.selection
        steps = sum(score.episodes * score.mean_length for score in evaluations.scores)
        if not steps:
            return whole - state.wall_seconds
        mean_length = evaluations.scores[-1].mean_length
        seconds = report_episodes(self._config, mean_length) * mean_length * evaluations.seconds / steps
        final = min(seconds, final_seconds(self._config, whole))
        return whole - state.wall_seconds + final

    def _facts(self, state: TrainingState) -> list[str]:
        facts = [f"{state.env_steps:,} steps", f"{len(state.episodes):,} episodes"]
        if state.episodes:
            facts.append(f"return while learning {_shown(state.recent('total_reward'))}")
        if state.selection.scores:
            facts.append(f"evaluated {self._score(state.selection)}")
        if not self._config.noisy:
            facts.append(f"random actions {state.epsilon:.0%}")
        if state.loss is not None:
            facts.append(f"loss {float(state.loss.mean()):.3g}")
        return [*facts, f"{state.env_steps / max(state.wall_seconds, 1e-9):,.0f} steps/s"]

    def _score(self, selection: Selection) -> str:
        """The latest evaluation in words."""
        latest, beside = selection.scores[-1], []
        if latest.cut:
            beside.append(f"{latest.cut} of {latest.episodes} episodes cut short")
        if selection.random_mean is not None:
            beside.append(f"a random policy {_shown(selection.random_mean)}")
        return f"{_shown(latest.mean)} ({', '.join(beside)})" if beside else _shown(latest.mean)


def _shown(value: float) -> str:
    """A mean return with enough digits to see it change."""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
