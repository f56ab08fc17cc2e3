"""`dqn-train`: one training run, from flags to a published version."""

import contextlib
import sys
from pathlib import Path
from typing import Any

from dqn_models import cli_support
from dqn_models.manifest import EnvironmentInfo, Manifest
from dqn_models.repository import ModelRepository
from dqn_models.streams import output_to_stderr
from dqn_training.cli.running import check_trackers, fitted, make_trackers, wrong_usage
from dqn_training.cli.train_options import RECORDED, TrainOptions
from dqn_training.envs.make import environment_for
from dqn_training.evaluation.play import remarks
from dqn_training.publishing.publish import publish
from dqn_training.publishing.trials import check_comparable
from dqn_training.run.candidate import WarmStart
from dqn_training.run.directory import RunDirectory, library_versions, new_run_directory
from dqn_training.run.run import Run
from dqn_training.tracking.live_plot import LivePlot
from dqn_training.tracking.metrics_csv import MetricsFile
from dqn_training.tracking.progress import TrainingProgress
from dqn_training.tracking.recorder import Outcome, Recorder


def run(options: TrainOptions) -> None:
    """Trains, evaluates, publishes and prints the result; for a finished run, only prints the result."""
    result = RunDirectory(options.resume).read_result() if options.resume else None
    plot = None
    if result is not None:
        print(f"The run in {options.resume} has finished; this is its result.", file=sys.stderr)
    else:
        with output_to_stderr():
            check_trackers(options)
            with wrong_usage():
                environment = environment_for(options.config)
                options = fitted(options, environment)
                plot = LivePlot(_title(options)) if options.live_plot else None
                if options.resume is None and options.run_dir is not None:
                    RunDirectory(options.run_dir).check_new()
                repository = ModelRepository(options.repository)
                repository.check_writable(options.name)
                check_comparable(environment, repository, options.name)
            result = _train(options, environment, plot)
    _show(options, result)
    if plot:
        plot.keep_open()


def _train(options: TrainOptions, environment: EnvironmentInfo, plot: LivePlot | None) -> dict[str, Any]:
    directory = RunDirectory(options.resume or options.run_dir or Path(new_run_directory(options.name)))
    repository = ModelRepository(options.repository)
    with directory.locked(), contextlib.ExitStack() as stack:
        if options.resume is None:
            asked = {name: getattr(options, name) for name in RECORDED}
            parent = directory.begin(options.repository, options.config, **asked).parent
        elif result := directory.read_result():  # finished in the meantime
            return result
        else:
            parent = _resumed_parent(directory)
        recorder = Recorder(options.config, MetricsFile(directory.metrics), make_trackers(options, directory))
        stack.enter_context(contextlib.closing(recorder))
        with TrainingProgress(options.config, _title(options)) as progress:
            progress.say(f"Checkpoint and logs: {directory.path}")
            candidate = Run(
                options.config,
                options.preset,
                environment,
                callbacks=[progress, recorder, *([plot] if plot else [])],
                warm=None if parent is None else WarmStart.of(repository, options.name, parent),
                directory=directory,
                checkpoint_seconds=options.checkpoint_seconds,
                say=progress.say,
            ).train()
            watch = progress.judging
            published = publish(candidate, repository, options.name, options.gate, "dqn-train", directory, watch)
        recorder.outcome = Outcome(published.manifest, repository, published.promoted)
    return published.as_json()


def _title(options: TrainOptions) -> str:
    return f"{options.name}, preset {options.preset}, seed {options.config.seed}"


def _resumed_parent(directory: RunDirectory) -> int | None:
    """The version that a resumed run warm-started from, if any; warns if library versions have changed."""
    began, now = directory.read_description(), library_versions()
    changes = [f"{name} was {old}, is {now.get(name)}" for name, old in began.libraries.items() if old != now.get(name)]
    if changes:
        print(f"warning: {'; '.join(changes)}: results may differ from an uninterrupted run.", file=sys.stderr)
    return began.parent


def _show(options: TrainOptions, result: dict[str, Any]) -> None:
    """Prints the result as JSON or as text."""
    if options.json:
        cli_support.print_json(result)
        return
    manifest, promoted = Manifest.model_validate(result), result["promoted"]
    evaluation, training = manifest.evaluation, manifest.training
    place = options.repository / manifest.model / str(manifest.version)
    low, high = evaluation.ci95
    lines = {
        "published": f"{manifest.model} version {manifest.version} in {place}",
        "training": f"{training.env_steps:,} environment steps, {training.episodes:,} episodes, "
        f"{training.gradient_steps:,} gradient steps, {training.wall_seconds:.1f} s; evaluations took "
        f"{training.evaluation_env_steps or 0:,} steps",
        "evaluation": f"mean return {evaluation.mean:.2f} (95 % interval {low:.2f} to {high:.2f}) over "
        f"{evaluation.episodes:,} episodes, min {evaluation.min:.2f}{remarks(evaluation)}",
        "champion": "yes, served from now on" if promoted else "no, the current champion stays",
    }
    if manifest.gate:
        lines["gate"] = manifest.gate.reason
    lines["look at"] = f"{place}/training_curve.png, {place}/MODEL_CARD.md"
    if promoted:
        lines["serve it"] = f"dqn-serve --repository {options.repository} --model {manifest.model}"
    for name, text in lines.items():
        print(f"{name:<10}  {text}", file=sys.stderr)
