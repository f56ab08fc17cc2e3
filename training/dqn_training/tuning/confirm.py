"""Retrains the best settings with fresh seeds, because the best of many noisy trials is partly luck."""

import dataclasses
import sys
from collections.abc import Iterable
from statistics import fmean
from typing import NamedTuple

from optuna.study import Study

from dqn_training.config import DQNConfig
from dqn_training.tuning.objective import Search, train_and_score
from dqn_training.tuning.space import configuration, parameters_of, search_space
from dqn_training.tuning.study import completed
from dqn_training.workers import in_processes

DEFAULT = "default"
_CONFIRMED = "confirmed"


class Finalist(NamedTuple):
    """Settings that are trained again: those that the search began with, or a trial's."""

    name: str
    config: DQNConfig


class Confirmed(NamedTuple):
    """A finalist's score with each of the other seeds."""

    finalist: Finalist
    scores: list[float]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.scores)


def finalists(study: Study, search: Search, count: int) -> list[Finalist]:
    """The default, and as many of the best other trials."""
    default = Finalist(DEFAULT, configuration(search.base, parameters_of(search.base, search_space(search.base))))
    others = [Finalist(f"trial {trial.number}", configuration(search.base, trial.params)) for trial in completed(study)]
    return [default, *[other for other in others if other.config != default.config][:count]]


def confirm(study: Study, search: Search, who: Iterable[Finalist], seeds: int, jobs: int) -> list[Confirmed]:
    """Trains each finalist with `seeds` seeds that follow those of the search; the best comes first.

    Scores are kept in the study, so that an interrupted confirmation can be resumed. Raises ChildProcessError when a
    process dies, and what training raises.
    """
    scores: dict[str, dict[str, float]] = study.user_attrs.get(_CONFIRMED, {})
    chosen = list(who)
    fresh = range(search.first_seed + search.seeds, search.first_seed + search.seeds + seeds)
    missing = [
        (finalist, seed)
        for seed in fresh
        for finalist in chosen
        if str(seed) not in scores.setdefault(finalist.name, {})
    ]
    runs = [(search, finalist.config, seed) for finalist, seed in missing]
    with in_processes(_score, runs, jobs) as finished:
        for index, score in finished:
            finalist, seed = missing[index]
            scores[finalist.name][str(seed)] = score
            study.set_user_attr(_CONFIRMED, scores)
            print(f"{finalist.name}, seed {seed}: score {score:.2f}", file=sys.stderr, flush=True)
    confirmed = [Confirmed(finalist, [scores[finalist.name][str(seed)] for seed in fresh]) for finalist in chosen]
    return sorted(confirmed, key=lambda one: -one.mean)


def _score(search: Search, config: DQNConfig, seed: int) -> float:
    return fmean(train_and_score(search, dataclasses.replace(config, seed=seed)))
