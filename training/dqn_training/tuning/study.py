"""The study on disk, and the processes that work on it."""

import sys
import time
import warnings
from pathlib import Path

import optuna
import sqlalchemy.exc
from optuna.study import MaxTrialsCallback, Study
from optuna.trial import FrozenTrial, TrialState

from dqn_models import cli_support
from dqn_models.durable import exclusive_lock
from dqn_models.errors import wrap_os_errors
from dqn_training.export.parity import ParityError
from dqn_training.interrupts import deferred_interrupts
from dqn_training.seeds import sampler_seed
from dqn_training.tuning.objective import Objective, Search
from dqn_training.tuning.space import parameters_of, search_space

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_NAME = "dqn-tune"
_IDENTITY = "search"
_KEPT_PERCENT = 66.7  # trials with one or two seeds are noisy: pruning half of them would lose good settings
_LOCK_SECONDS = 60.0  # to wait for another process to create the study


def open_study(path: Path, search: Search) -> Study:
    """The study in an SQLite file, created if missing; its first trial is the preset itself.

    Raises UsageError if it belongs to another search, RepositoryError if the file cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # we print our own warnings
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    lock = exclusive_lock(path.with_name(f".{path.name}.lock"), "another dqn-tune", _LOCK_SECONDS)
    with wrap_os_errors(f"store the search in {path} (set another file with --storage)"), lock:
        study = optuna.create_study(
            storage=_storage(path),
            study_name=_NAME,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.PercentilePruner(
                _KEPT_PERCENT, n_startup_trials=4, n_warmup_steps=search.evaluations // 2
            ),
        )
        if _IDENTITY not in study.user_attrs:
            study.enqueue_trial(parameters_of(search.base, search_space(search.base)))
            study.set_user_attr(_IDENTITY, search.identity())
    known = study.user_attrs[_IDENTITY]
    for name, value in search.identity().items():
        if known.get(name, value) != value:
            raise cli_support.UsageError(
                f"{path} holds a search with {name} {known[name]!r}, not {value!r}; use the same settings to resume "
                "it, or choose another --storage."
            )
    return study


def _storage(path: Path) -> optuna.storages.RDBStorage:
    """Raises OSError if the file cannot be created or is not a database."""
    options = {"connect_args": {"timeout": 60}}
    try:
        return optuna.storages.RDBStorage(f"sqlite:///{path}", options, heartbeat_interval=20, grace_period=60)
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise OSError(str(error.__cause__ or error)) from error


def finished(study: Study) -> list[FrozenTrial]:
    """The trials that have ended, completed or pruned."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def completed(study: Study) -> list[FrozenTrial]:
    """The completed trials, best first."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(trials, key=lambda trial: -(trial.value or 0.0))


def work(path: Path, search: Search, trials: int, deadline: float, worker: int = 0) -> None:
    """Adds trials until the study has `trials` finished ones or the deadline passes."""
    study = open_study(path, search)
    seed = sampler_seed(worker, len(study.get_trials(deepcopy=False)))
    study.sampler = optuna.samplers.TPESampler(n_startup_trials=8, seed=seed)
    left = deadline - time.time()
    if len(finished(study)) >= trials or left <= 0:
        return
    with deferred_interrupts() as interruptible:  # interrupts wait until a trial is recorded as ended
        study.optimize(
            Objective(search, deadline, interruptible),
            timeout=left if left < float("inf") else None,
            callbacks=[MaxTrialsCallback(trials, states=FINISHED), _report],
            catch=(ParityError,),
        )


def _report(study: Study, trial: FrozenTrial) -> None:
    """Prints a line on standard error for each trial that ends."""
    score = f"score {trial.value:.2f}" if trial.state == TrialState.COMPLETE else trial.state.name.lower()
    best = completed(study)
    against = f", best so far {best[0].value:.2f}" if best else ""
    seconds = trial.duration.total_seconds() if trial.duration else 0.0
    print(f"trial {trial.number}: {score}, {seconds:.0f} s{against}", file=sys.stderr, flush=True)
