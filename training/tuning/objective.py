"""What a trial is worth: how good the policy is on average over the whole run, so that fast counts as well as good."""

import dataclasses
import json
import math
import time
from typing import Any

import optuna
from optuna.trial import Trial

from models.manifest import EnvironmentInfo
from training.challenger import train_challenger
from training.config import DQNConfig
from training.learning.selection import CheckpointScore
from training.learning.state import TrainingState
from training.tuning.space import configuration, search_space, suggest


@dataclasses.dataclass(frozen=True)
class Search:
    """What is searched for; a study goes on only with the same."""

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
        }

    def identity(self) -> dict[str, Any]:
        """All of it as JSON."""
        parts = {"first_seed": self.first_seed, "seeds": self.seeds, "evaluations": self.evaluations}
        described: dict[str, Any] = {**dataclasses.asdict(self.base), **parts, "episodes": self.episodes}
        identity: dict[str, Any] = json.loads(json.dumps(described))
        return identity


class Objective:
    """Trains with a trial's settings, a run for each seed.

    The score of a run is the mean, over its evaluations on the choosing seeds, of the best one so far: the area under
    the curve of what would be published. A trial's score is the mean of its runs'. After each evaluation the score so
    far is told to the study, which may end the trial.
    """

    def __init__(self, search: Search, deadline: float) -> None:
        """`deadline` is a time of `time.time`, after which a trial ends at its next evaluation."""
        self._search = search
        self._deadline = deadline
        self._space = search_space(search.base)

    def __call__(self, trial: Trial) -> float:
        """The score. Raises TrialPruned for one that is not worth going on with."""
        try:
            return self._score(trial)
        except KeyboardInterrupt:  # its settings come first when the search goes on
            trial.study.enqueue_trial(trial.params)
            raise

    def _score(self, trial: Trial) -> float:
        try:
            config = configuration(self._search.base, suggest(trial, self._space))
            config = dataclasses.replace(config, **self._search.schedule)
        except ValueError as error:
            raise optuna.TrialPruned(str(error)) from error
        values: list[float] = []  # of all evaluations so far, the best of their run up to then
        finals = []
        for index in range(self._search.seeds):
            seeded = dataclasses.replace(config, seed=self._search.first_seed + index)
            finals.append(self._run(trial, seeded, values))
            missing = (index + 1) * self._search.evaluations - len(values)
            values += [finals[-1]] * missing  # a run that ended early goes on as good as it was
        trial.set_user_attr("final_returns", finals)
        return sum(values) / len(values)

    def _run(self, trial: Trial, config: DQNConfig, values: list[float]) -> float:
        """Adds a run's values; returns its best evaluation."""
        before = len(values)

        def watch(_state: TrainingState, scores: list[CheckpointScore]) -> None:
            if len(values) - before == len(scores) or len(scores) > self._search.evaluations:
                return
            values.append(max(score.mean for score in scores))
            trial.report(sum(values) / len(values), len(values))
            if time.time() > self._deadline:  # its settings come first when the search goes on
                trial.study.enqueue_trial(trial.params)
                raise optuna.TrialPruned("The time is over.")
            if trial.should_prune():
                raise optuna.TrialPruned

        return train_challenger(config, "tuning", self._search.environment, watch).state.selection.chosen.mean
