"""The study on disk, and who works on it: this process, or several."""

import multiprocessing
import sys
import time
import warnings
from pathlib import Path

import optuna
from optuna.study import MaxTrialsCallback, Study
from optuna.trial import FrozenTrial, TrialState

from models import command
from training.artifact.parity import ParityError
from training.tuning.objective import Objective, Search
from training.tuning.space import parameters_of, search_space

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_NAME = "dqn-tune"
_IDENTITY = "search"


def open_study(path: Path, search: Search, seed: int = 0) -> Study:
    """The study in an SQLite file, made where there is none; its first trial is the preset itself.

    Raises UsageError when it is a study of something else.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it would warn of is told here
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    storage = optuna.storages.RDBStorage(
        f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}}, heartbeat_interval=20, grace_period=60
    )
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=search.evaluations // 4)
    study = optuna.create_study(
        storage=storage,
        study_name=_NAME,
        direction="maximize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(n_startup_trials=8, seed=seed),
        pruner=pruner,
    )
    if new:
        study.set_user_attr(_IDENTITY, search.identity())
        study.enqueue_trial(parameters_of(search.base, search_space(search.base)))
    _check_identity(study, path, search)
    return study


def finished(study: Study) -> list[FrozenTrial]:
    """The trials that have come to an end."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def work(path: Path, search: Search, trials: int, deadline: float, worker: int = 0) -> None:
    """Adds trials until the study has that many finished ones or the time is over."""
    started = len(open_study(path, search).get_trials(deepcopy=False))
    study = open_study(path, search, seed=1_000 * worker + started)
    left = deadline - time.time()
    if len(finished(study)) >= trials or left <= 0:
        return
    study.optimize(
        Objective(search, deadline),
        timeout=left if left < float("inf") else None,
        callbacks=[MaxTrialsCallback(trials, states=FINISHED), _tell],
        catch=(ParityError,),
    )


def work_in_processes(path: Path, search: Search, trials: int, deadline: float, jobs: int) -> None:
    """The same with several processes. Raises RuntimeError when one fails."""
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_work_quietly, args=(path, search, trials, deadline, number)) for number in range(jobs)
    ]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    failed = [worker.exitcode for worker in workers if worker.exitcode not in (0, command.INTERRUPTED)]
    if failed:
        raise RuntimeError(f"A process of the search ended with status {failed[0]}; what it said stands above.")


def _work_quietly(path: Path, search: Search, trials: int, deadline: float, worker: int) -> None:
    sys.exit(command.run(lambda: work(path, search, trials, deadline, worker)))


def _check_identity(study: Study, path: Path, search: Search) -> None:
    known = study.user_attrs.get(_IDENTITY, {})
    for name, value in search.identity().items():
        if known.get(name, value) != value:
            raise command.UsageError(
                f"{path} holds a search with {name} {known[name]!r}, not {value!r}; use the same settings to go on "
                "with it, or another --storage."
            )


def _tell(study: Study, trial: FrozenTrial) -> None:
    """A line on standard error for each trial that ends."""
    best = max((other.value or 0.0 for other in study.get_trials(states=(TrialState.COMPLETE,))), default=None)
    seconds = trial.duration.total_seconds() if trial.duration else 0.0
    score = f"score {trial.value:.2f}" if trial.state == TrialState.COMPLETE else trial.state.name.lower()
    against = "" if best is None else f", best so far {best:.2f}"
    print(f"trial {trial.number}: {score}, {seconds:.0f} s{against}", file=sys.stderr, flush=True)
