"""Which of the best settings are good with other seeds too: the best of many noisy trials is partly luck."""

import dataclasses
import multiprocessing
import signal
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from statistics import fmean
from typing import NamedTuple

from optuna.study import Study

from dqn_training.config import DQNConfig
from dqn_training.tuning.objective import Search, train_and_score
from dqn_training.tuning.space import configuration, parameters_of, search_space
from dqn_training.tuning.study import completed

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

    Scores are kept in the study, so that an interrupted confirmation goes on. Raises ChildProcessError when a process
    dies, and what training raises.
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
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _ignore_interrupts) as pool:
        runs = {pool.submit(_score, search, finalist.config, seed): (finalist, seed) for finalist, seed in missing}
        try:
            for run in as_completed(runs):
                finalist, seed = runs[run]
                scores[finalist.name][str(seed)] = run.result()
                study.set_user_attr(_CONFIRMED, scores)
                print(f"{finalist.name}, seed {seed}: score {run.result():.2f}", file=sys.stderr, flush=True)
        except BrokenProcessPool as error:
            raise ChildProcessError("A process of the confirmation was killed; the same command goes on.") from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    confirmed = [Confirmed(finalist, [scores[finalist.name][str(seed)] for seed in fresh]) for finalist in chosen]
    return sorted(confirmed, key=lambda one: -one.mean)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process answers Ctrl-C


def _score(search: Search, config: DQNConfig, seed: int) -> float:
    return fmean(train_and_score(search, dataclasses.replace(config, seed=seed)))
