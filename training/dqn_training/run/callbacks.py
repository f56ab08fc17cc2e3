"""Callbacks of a run: one interface for progress, plots, metrics, checkpoints and evaluations."""

import time

from dqn_models.manifest import EnvironmentInfo
from dqn_models.policy import Policy
from dqn_training.config import DQNConfig
from dqn_training.evaluation.play import play
from dqn_training.export.onnx_graph import export
from dqn_training.learning.best import CheckpointScore
from dqn_training.learning.state import TrainingState
from dqn_training.seeds import first_seed


class Callback:
    """Is called at the beginning, at each step and at the end of a run; an exception ends the run.

    A subclass leaves out the methods that it does not need.
    """

    def begin(self, state: TrainingState) -> None:
        """Training begins, or resumes, at this state."""

    def step(self, state: TrainingState) -> None:
        """Every environment has taken a step."""

    def end(self, state: TrainingState) -> None:
        """Training has reached its end; not called when it was interrupted."""


class Evaluation(Callback):
    """Plays the selection episodes when they are due, with the exported policy, and records indicators of collapse."""

    def __init__(self, config: DQNConfig, environment: EnvironmentInfo) -> None:
        self._config = config
        self._environment = environment

    def step(self, state: TrainingState) -> None:
        """Evaluates every `eval_every` environment steps, once something was learned."""
        if state.env_steps >= state.selection.due and state.agent.gradient_steps:
            self._evaluate(state)

    def end(self, state: TrainingState) -> None:
        """Evaluates the last policy."""
        if not state.selection.scores or state.selection.scores[-1].env_steps != state.env_steps:
            self._evaluate(state)

    def _evaluate(self, state: TrainingState) -> None:
        config = self._config
        state.selection.due = state.env_steps - state.env_steps % config.eval_every + config.eval_every
        policy = Policy(export(state.agent.policy_network, self._environment))
        seed = first_seed("selection", config.seed)
        episodes = play(policy, self._environment, seed, config.eval_episodes, config.episode_step_limit)
        score = CheckpointScore(state.env_steps, float(episodes.returns.mean()))
        state.monitor.record(state.env_steps, state.agent.q_network, state.replay)
        state.selection.add(score, state.agent.policy_parameters, config.stop_return)


class Clock(Callback):
    """Keeps the seconds that the run has taken, those before it was resumed included."""

    def begin(self, state: TrainingState) -> None:
        """Starts the clock where an earlier process stopped it."""
        self._started = time.perf_counter() - state.wall_seconds

    def step(self, state: TrainingState) -> None:
        """Reads the clock."""
        state.wall_seconds = time.perf_counter() - self._started

    end = step
