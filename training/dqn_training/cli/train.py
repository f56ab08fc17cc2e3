"""`dqn-train`: one run, from flags to a published version."""

import contextlib
import dataclasses
import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dqn_models.manifest import EnvironmentInfo
from dqn_models.repository import ModelRepository
from dqn_training.cli.outcome import result_of, show
from dqn_training.cli.running import see_working_directory, wrong_usage
from dqn_training.cli.trackers import check_trackers, make_tracking
from dqn_training.cli.train_options import TrainOptions
from dqn_training.presets import default_model_name
from dqn_training.run.directory import RunDescription, RunDirectory, new_run_directory
from dqn_training.run.provenance import library_versions

if TYPE_CHECKING:
    from dqn_training.checkpoint.store import CheckpointFile
    from dqn_training.learning.best import CheckpointScore
    from dqn_training.learning.state import TrainingState
    from dqn_training.publishing.publish import Published
    from dqn_training.run.challenger import Challenger, Watcher


def run_train(options: TrainOptions) -> None:
    """Trains, judges, publishes and says what came of it; of a run that is finished it only says that."""
    see_working_directory()
    if _is_finished(options):
        return
    from dqn_training.envs.make import environment_for  # noqa: PLC0415
    from dqn_training.run.resources import check_machine  # noqa: PLC0415
    from dqn_training.tracking.live_plot import LivePlot  # noqa: PLC0415

    check_trackers(options)
    config = options.config
    with wrong_usage():
        environment = environment_for(config)
        check_machine(config, environment)
        name = options.name or default_model_name(config.env_id)
        options = dataclasses.replace(options, name=name)
        ModelRepository(options.repository).check_writable(name)
        title = f"{name}, preset {options.preset}, seed {config.seed}"
        plot = LivePlot(title) if options.live_plot else None
    run = RunDirectory(options.resume or options.run_dir or new_run_directory(name))
    with run.locked(), _saying_how_to_go_on(run):
        if _is_finished(options):  # by now
            return
        if options.resume is None:
            run.begin(_description(options))
        else:
            _warn_of_other_libraries(run)
        challenger, published = _train(options, environment, title, run, plot)
    show(options, result_of(published))
    if plot:
        plot.keep_open(challenger.state)


def _is_finished(options: TrainOptions) -> bool:
    """Whether there is nothing left to do for the run to be resumed; if so, what came of it is shown."""
    result = RunDirectory(options.resume).read_result() if options.resume else None
    if result is None:
        return False
    print(f"The run in {options.resume} is finished; this is what came of it.", file=sys.stderr)
    show(options, result)
    return True


def _warn_of_other_libraries(run: RunDirectory) -> None:
    began, now = run.read_description().libraries, library_versions()
    other = [f"{name} was {version}, is {now.get(name)}" for name, version in began.items() if version != now.get(name)]
    if other:
        print(f"warning: {'; '.join(other)}: the result may not be that of an uninterrupted run.", file=sys.stderr)


def _train(
    options: TrainOptions, environment: EnvironmentInfo, title: str, run: RunDirectory, plot: "Watcher | None"
) -> "tuple[Challenger, Published]":
    from dqn_training.checkpoint.store import CheckpointFile  # noqa: PLC0415
    from dqn_training.publishing.publish import publish  # noqa: PLC0415

    file, repository = CheckpointFile(run.checkpoint), ModelRepository(options.repository)
    with make_tracking(options, run) as tracking:
        watchers: tuple[Watcher, ...] = (tracking, plot) if plot else (tracking,)
        challenger = _challenger(options, environment, title, run, file, watchers)
        published = publish(
            challenger,
            repository,
            options.name or "",
            options.gate,
            by="dqn-train",
            run=run.read_description().id,
            record=lambda published: run.finish(result_of(published)),
        )
        file.remove()
        tracking.end(published.manifest, repository, promoted=published.promoted)
    return challenger, published


def _challenger(
    options: TrainOptions,
    environment: EnvironmentInfo,
    title: str,
    run: RunDirectory,
    file: "CheckpointFile",
    watchers: "tuple[Watcher, ...]",
) -> "Challenger":
    from dqn_training.envs.checks import FaultyEnvironmentError  # noqa: PLC0415
    from dqn_training.run.challenger import train_challenger  # noqa: PLC0415
    from dqn_training.run.checkpoints import Checkpoints  # noqa: PLC0415
    from dqn_training.tracking.progress import TrainingProgress  # noqa: PLC0415

    with TrainingProgress(options.config, title) as progress:
        progress.tell(f"Its checkpoint and logs are in {run.path}.")
        checkpoints = Checkpoints(file, options.checkpoint_seconds or math.inf, progress.tell)

        def watch(state: "TrainingState", scores: "list[CheckpointScore]") -> None:
            progress(state, scores)
            for watcher in watchers:
                watcher(state, scores)

        try:
            return train_challenger(options.config, options.preset, environment, watch, checkpoints=checkpoints)
        except FaultyEnvironmentError as fault:
            checkpoints.settle()
            if not run.checkpoint.exists():
                raise
            raise FaultyEnvironmentError(f"{fault} The checkpoint is kept: {_go_on(run)}") from fault


def _description(options: TrainOptions) -> RunDescription:
    return RunDescription(
        name=options.name or "",
        preset=options.preset,
        config=options.config.to_json(),
        repository=str(options.repository.absolute()),
        gate=options.gate,
        command=sys.argv,
        libraries=library_versions(),
    )


@contextlib.contextmanager
def _saying_how_to_go_on(run: RunDirectory) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if run.read_result() is not None:
            raise
        raise KeyboardInterrupt(f"{interrupt} {_go_on(run)}") from None


def _go_on(run: RunDirectory) -> str:
    return f"dqn-train --resume {run.path} goes on with it."
