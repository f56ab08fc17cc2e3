"""The objective of a trial: the mean of the best return so far over the run, which rewards fast learning too."""

import dataclasses
import json
import math
import time
from collections.abc import Callable
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import Trial

from dqn_models.manifest import EnvironmentInfo
from dqn_training.config import DQNConfig
from dqn_training.interrupts import Interruptible
from dqn_training.learning.state import TrainingState
from dqn_training.run.callbacks import Callback
from dqn_training.run.run import Run
from dqn_training.seeds import trial_seeds
from dqn_training.tuning.space import configuration, search_space, suggest

SEARCH_FRACTION = 1.0
"""The default eval_fraction of a search: evaluations determine a trial's score, so they may take more than in a run."""

_OWN = ("first_seed", "seeds", "evaluations", "episodes", "evaluation_fraction")


@dataclasses.dataclass(frozen=True)
class Search:
    """The parameters of a search; a study can only be resumed with the same ones."""

    base: DQNConfig
    environment: EnvironmentInfo
    first_seed: int
    seeds: int
    evaluations: int  # per training run
    episodes: int  # per evaluation, at most
    evaluation_fraction: float  # evaluation steps per training step, at most

    @property
    def run_seeds(self) -> range:
        """Seeds of the training runs of each trial."""
        return trial_seeds(self.first_seed, self.seeds)

    def identity(self) -> dict[str, Any]:
        """All parameters as JSON."""
        own = {name: getattr(self, name) for name in _OWN}
        return json.loads(json.dumps(self.base.to_json() | own))  # type: ignore[no-any-return]  # as it is stored


class _BestSoFar(Callback):
    """Records the best mean return so far after each of the search's evaluations."""

    def __init__(self, search: Search, report: Callable[[list[float]], None]) -> None:
        self.values: list[float] = []
        self._count = search.evaluations
        self._report = report

    def step(self, state: TrainingState) -> None:
        """Reports the values so far if there is a new one."""
        if len(self.values) < len(state.selection.scores) <= self._count:
            self.values.append(max(score.mean for score in state.selection.scores))
            self._report(self.values)

    end = step


def train_and_score(
    search: Search, config: DQNConfig, seed: int, report: Callable[[list[float]], None] = lambda _: None
) -> list[float]:
    """The best mean return so far of a training run at each of the search's evaluations.

    The mean of these values is the run's score. `report` gets the values so far after each evaluation; an exception
    from it ends the run. Raises ValueError as DQNConfig.
    """
    best, every = _BestSoFar(search, report), math.ceil(search.base.total_env_steps / search.evaluations)
    schedule: dict[str, Any] = {
        "eval_every": every,
        "eval_episodes": search.episodes,
        "eval_fraction": search.evaluation_fraction,
    }
    config = dataclasses.replace(config, seed=seed, **schedule)
    final = Run(config, "tuning", search.environment, [best], enough_episodes=0).train().best.mean
    return best.values + [final] * (search.evaluations - len(best.values))  # after early stopping


@dataclasses.dataclass(frozen=True)
class Objective:
    """Trains with a trial's settings, one run per seed; a trial's score is the mean over its runs.

    After each evaluation the score so far is reported to the study, which may prune the trial.
    """

    search: Search
    deadline: float  # Unix time after which a trial ends at its next evaluation
    interruptible: Interruptible  # interrupts may end a trial only within it

    def __call__(self, trial: Trial) -> float:
        """The score. Raises TrialPruned for an unpromising trial."""
        try:
            config = configuration(self.search.base, suggest(trial, search_space(self.search.base)))
        except ValueError as error:
            raise optuna.TrialPruned(str(error)) from error
        try:
            with self.interruptible():
                return self._score(trial, config)
        except (KeyboardInterrupt, _TimeIsOverError):  # a resumed search starts with these settings
            trial.study.enqueue_trial(trial.params)
            raise

    def _score(self, trial: Trial, config: DQNConfig) -> float:
        before: list[float] = []  # of the finished runs

        def report(values: list[float]) -> None:
            so_far = before + values
            trial.report(fmean(so_far), len(so_far))
            if time.time() > self.deadline:
                raise _TimeIsOverError
            if trial.should_prune():
                raise optuna.TrialPruned

        for seed in self.search.run_seeds:
            before += train_and_score(self.search, config, seed, report)
        trial.set_user_attr("final_returns", before[self.search.evaluations - 1 :: self.search.evaluations])
        return fmean(before)


class _TimeIsOverError(optuna.TrialPruned):
    """The deadline has passed."""
