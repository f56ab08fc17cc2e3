"""The objective of a trial: the policy's mean quality over the whole run, so that speed counts as well as the end."""

import dataclasses
import json
import math
import time
from collections.abc import Callable
from typing import Any

import optuna
from optuna.trial import Trial

from dqn_models.manifest import EnvironmentInfo
from dqn_training.config import DQNConfig
from dqn_training.interrupts import LetThrough
from dqn_training.learning.state import TrainingState
from dqn_training.run.callbacks import Callback
from dqn_training.run.run import Run
from dqn_training.tuning.space import configuration, search_space, suggest


@dataclasses.dataclass(frozen=True)
class Search:
    """What is searched for; a study is resumed only with the same."""

    base: DQNConfig
    environment: EnvironmentInfo
    first_seed: int
    seeds: int
    evaluations: int  # in each training run
    episodes: int  # in each evaluation

    @property
    def schedule(self) -> dict[str, Any]:
        """The settings that make a training run one of a trial."""
        return {
            "eval_every": math.ceil(self.base.total_env_steps / self.evaluations),
            "eval_episodes": self.episodes,
            "eval_fraction": 1_000.0,  # a trial is compared by all of its evaluations
        }

    def identity(self) -> dict[str, Any]:
        """All of it as JSON."""
        own = {name: getattr(self, name) for name in ("first_seed", "seeds", "evaluations", "episodes")}
        return json.loads(json.dumps(self.base.to_json() | own))  # type: ignore[no-any-return]  # as it is stored


class _BestSoFar(Callback):
    """Keeps what would have been published after each of the search's evaluations: the best one so far."""

    def __init__(self, search: Search, report: Callable[[list[float]], None]) -> None:
        self.values: list[float] = []
        self._count = search.evaluations
        self._report = report

    def step(self, state: TrainingState) -> None:
        """Reports the values up to now where there is a new one."""
        if len(self.values) < len(state.selection.scores) <= self._count:
            self.values.append(max(score.mean for score in state.selection.scores))
            self._report(self.values)

    end = step


def train_and_score(
    search: Search, config: DQNConfig, report: Callable[[list[float]], None] = lambda _: None
) -> list[float]:
    """What a training run would have published at each of the search's evaluations: the best one so far.

    Its mean is the run's score, the area under that curve. `report` gets the values up to now after each evaluation,
    and what it raises ends the run. Raises ValueError as DQNConfig.
    """
    best = _BestSoFar(search, report)
    final = Run(dataclasses.replace(config, **search.schedule), "tuning", search.environment, [best]).train().best.mean
    return best.values + [final] * (search.evaluations - len(best.values))  # a run that ended early stays as good


class Objective:
    """Trains with a trial's settings, a run for each seed; a trial's score is the mean of its runs'.

    After each evaluation the score so far is reported to the study, which may end the trial.
    """

    def __init__(self, search: Search, deadline: float, let_through: LetThrough) -> None:
        """`deadline` is a time of `time.time`, after which a trial ends at its next evaluation.

        An interrupt may end a trial only within `let_through`.
        """
        self._let_through = let_through
        self._search = search
        self._deadline = deadline
        self._space = search_space(search.base)

    def __call__(self, trial: Trial) -> float:
        """The score. Raises TrialPruned for an unpromising trial."""
        try:
            config = configuration(self._search.base, suggest(trial, self._space))
        except ValueError as error:
            raise optuna.TrialPruned(str(error)) from error
        try:
            with self._let_through():
                return self._score(trial, config)
        except KeyboardInterrupt:  # its settings come first when the search is resumed
            trial.study.enqueue_trial(trial.params)
            raise

    def _score(self, trial: Trial, config: DQNConfig) -> float:
        before: list[float] = []  # of the finished runs

        def report(values: list[float]) -> None:
            so_far = before + values
            trial.report(sum(so_far) / len(so_far), len(so_far))
            if time.time() > self._deadline:  # its settings come first when the search is resumed
                trial.study.enqueue_trial(trial.params)
                raise optuna.TrialPruned("The time is over.")
            if trial.should_prune():
                raise optuna.TrialPruned

        finals = []
        for seed in range(self._search.first_seed, self._search.first_seed + self._search.seeds):
            before += train_and_score(self._search, dataclasses.replace(config, seed=seed), report)
            finals.append(before[-1])
        trial.set_user_attr("final_returns", finals)
        return sum(before) / len(before)
