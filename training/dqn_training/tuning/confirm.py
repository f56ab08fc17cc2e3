"""Retrains the best settings with fresh seeds, because the best of many noisy trials is partly luck."""

import sys
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
    """Settings to retrain: the default (those that the search started from), or a trial's."""

    name: str
    config: DQNConfig
    scores: list[float]  # one for each of the other seeds

    @property
    def mean(self) -> float:
        """The mean score."""
        return fmean(self.scores)


def finalists(study: Study, search: Search, count: int) -> list[Finalist]:
    """The default and the `count` best other trials."""
    preset = parameters_of(search.base, search_space(search.base))
    default = Finalist(DEFAULT, configuration(search.base, preset), [])
    others = [Finalist(f"trial {one.number}", configuration(search.base, one.params), []) for one in completed(study)]
    return [default, *[other for other in others if other.config != default.config][:count]]


def confirm(study: Study, search: Search, who: list[Finalist], seeds: range, jobs: int) -> list[Finalist]:
    """Trains each finalist with these seeds; returns them with scores, best first.

    Scores are stored in the study, so that an interrupted confirmation can be resumed. Raises ChildProcessError if a
    process dies, and what training raises.
    """
    known: dict[str, dict[str, float]] = study.user_attrs.get(_CONFIRMED, {})
    missing = [(one, seed) for seed in seeds for one in who if str(seed) not in known.setdefault(one.name, {})]
    with in_processes(train_and_score, [(search, one.config, seed) for one, seed in missing], jobs) as ended:
        for index, values in ended:
            name, seed = missing[index][0].name, missing[index][1]
            known[name][str(seed)] = score = fmean(values)
            study.set_user_attr(_CONFIRMED, known)
            print(f"{name}, seed {seed}: score {score:.2f}", file=sys.stderr, flush=True)
    confirmed = [one._replace(scores=[known[one.name][str(seed)] for seed in seeds]) for one in who]
    return sorted(confirmed, key=lambda one: -one.mean)
