"""The evaluations of a run: when they are due, and their budget.

The budget counts environment steps, not seconds, so that the same command always selects the same weights.
"""

import math
import time
from collections.abc import Callable

from dqn_models.manifest import EnvironmentInfo
from dqn_training.config import DQNConfig
from dqn_training.evaluation.evaluator import Evaluator
from dqn_training.evaluation.play import Episodes, step_limit
from dqn_training.export.onnx_graph import export
from dqn_training.learning.best import CheckpointScore, Selection
from dqn_training.learning.state import TrainingState
from dqn_training.run.callbacks import Callback
from dqn_training.seeds import first_seed, random_play_seed

ENOUGH_EPISODES = 10
"""Minimum number of episodes of an evaluation, except for the last one of a run: fewer would select by luck. Those of a
search have no minimum, because its trials are compared by all of them."""
_RANDOM_EPISODES, _RANDOM_FRACTION = 20, 0.01  # maxima; the fraction is of training steps
_FEWEST_STEPS = 200
_SLACK = 2
"""Episodes may grow by this factor before the budget truncates them."""

Show = Callable[[TrainingState, int, int], None]
"""Called during an evaluation with the state, the steps taken so far, and the maximum number of steps."""


def make_evaluator(config: DQNConfig, environment: EnvironmentInfo) -> Evaluator:
    """An evaluator with the configuration's settings. The caller must close it."""
    return Evaluator(environment, config.eval_envs, step_limit(config.episode_step_limit, environment))


class Evaluation(Callback):
    """Plays the selection episodes when due, with the exported policy, and records collapse indicators."""

    def __init__(
        self,
        config: DQNConfig,
        environment: EnvironmentInfo,
        evaluator: Evaluator,
        show: Show,
        enough: int = ENOUGH_EPISODES,
    ) -> None:
        self._config = config
        self._environment = environment
        self._evaluator = evaluator
        self._show = show
        self._enough = min(enough, config.eval_episodes)
        self._limit = step_limit(config.episode_step_limit, environment)

    def step(self, state: TrainingState) -> None:
        """Evaluates every `eval_every` environment steps, after the first gradient step, if the budget allows."""
        if state.env_steps < state.selection.due or not state.agent.gradient_steps:
            return
        config = self._config
        state.selection.due = state.env_steps - state.env_steps % config.eval_every + config.eval_every
        state.monitor.record(state.env_steps, state.agent.q_network, state.replay)
        if (episodes := self._affordable(state)) >= self._enough:
            self._evaluate(state, max(1, episodes))

    def end(self, state: TrainingState) -> None:
        """Evaluates the last policy if the budget allows; every run has at least one evaluation."""
        scores = state.selection.scores
        if scores and scores[-1].env_steps == state.env_steps:
            return
        episodes = self._affordable(state, last=True)
        if episodes or not scores:
            state.monitor.record(state.env_steps, state.agent.q_network, state.replay)
            self._evaluate(state, max(1, episodes))

    def _left(self, selection: Selection, env_steps: int) -> int:
        """Environment steps left for evaluations after `env_steps` of training."""
        return int(self._config.eval_fraction * env_steps) - (selection.env_steps - selection.random_env_steps)

    def _affordable(self, state: TrainingState, *, last: bool = False) -> int:
        """Episodes that probably fit the remaining budget, reserving enough for the last evaluation."""
        lengths = [state.recent("length"), *(score.mean_length for score in state.selection.scores[-1:])]
        known = [length for length in lengths if length >= 1]  # NaN is not
        longest = min(self._limit, self._environment.max_episode_steps or self._limit)
        expected = min(_SLACK * max(known, default=longest), longest)
        steps = self._left(state.selection, state.env_steps)
        if not last:
            at_end = self._left(state.selection, max(state.env_steps, self._config.total_env_steps))
            steps = min(steps, at_end - math.ceil(self._enough * expected))
        return min(self._config.eval_episodes, int(max(0, steps) / expected))

    def _evaluate(self, state: TrainingState, episodes: int) -> None:
        self._play_random(state)
        onnx = export(state.agent.policy_network, self._environment, self._config.reward_scale)
        most = max(self._left(state.selection, state.env_steps), _FEWEST_STEPS)
        started = time.perf_counter()
        played = self._play(state, onnx, first_seed("selection", self._config.seed), episodes, most)
        state.selection.seconds += time.perf_counter() - started
        score = CheckpointScore(
            env_steps=state.env_steps,
            mean=float(played.returns.mean()),
            episodes=len(played.returns),
            mean_length=float(played.lengths.mean()),
            cut=int(played.cut.sum()),
        )
        state.selection.add(score, state.agent.policy_parameters, self._config.stop_return)

    def _play_random(self, state: TrainingState) -> None:
        """Plays a few episodes with random actions, as a baseline, before the first evaluation."""
        if state.selection.random_episodes is not None:
            return
        most = max(int(_RANDOM_FRACTION * self._config.total_env_steps), _FEWEST_STEPS)
        played = self._play(state, None, random_play_seed(self._config.seed), _RANDOM_EPISODES, most)
        whole = played.returns[~played.cut | (played.lengths >= self._limit)]  # the budget truncated the others
        state.selection.random_env_steps = played.env_steps
        state.selection.random_episodes = len(whole)
        state.selection.random_mean = float(whole.mean()) if len(whole) else None

    def _play(self, state: TrainingState, onnx: bytes | None, seed: int, episodes: int, most: int) -> Episodes:
        played = self._evaluator.play(onnx, seed, episodes, most, lambda steps: self._show(state, steps, most))
        state.selection.env_steps += played.env_steps
        return played
