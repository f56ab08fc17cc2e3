"""The commands `dqn-train`, `dqn-evaluate` and `dqn-retrain`.

torch takes seconds to import, so that the heavy modules are imported once the flags are known to be right.
"""

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from models import command
from models.layout import split_reference
from models.manifest import Manifest
from models.repository import ModelRepository
from training.interrupts import exit_on_sigterm
from training.options import (
    EvaluateOptions,
    RetrainOptions,
    TrainOptions,
    evaluate_options,
    retrain_options,
    train_options,
)
from training.presets import default_model_name

if TYPE_CHECKING:
    from training.artifact.curve import CheckpointScore
    from training.learning.loop import TrainingState


def train() -> None:
    """Entry point of `dqn-train`."""
    _leave(command.run(lambda: _train(train_options(sys.argv[1:]))))


def evaluate() -> None:
    """Entry point of `dqn-evaluate`."""
    _leave(command.run(lambda: _evaluate(evaluate_options(sys.argv[1:]))))


def retrain() -> None:
    """Entry point of `dqn-retrain`."""
    exit_on_sigterm()
    _leave(command.run(lambda: _retrain(retrain_options(sys.argv[1:]))))


def _leave(status: int) -> NoReturn:
    """Ends the process at once: to take torch down lasts most of a second, which Ctrl-C should not wait for."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(status)


def _train(options: TrainOptions) -> None:
    _see_working_directory()
    from training.challenger import train_challenger  # noqa: PLC0415
    from training.experience.environments import describe  # noqa: PLC0415
    from training.live_plot import LivePlot  # noqa: PLC0415
    from training.pipeline import publish  # noqa: PLC0415
    from training.progress import TrainingProgress  # noqa: PLC0415

    config = options.config
    with _wrong_usage():
        environment = describe(config.env_id, config.env_kwargs)
        name = options.name or default_model_name(config.env_id)
        repository = ModelRepository(options.repository)
        repository.check_writable(name)
        title = f"{name}, preset {options.preset}, seed {config.seed}"
        plot = LivePlot(title) if options.live_plot else None
    with TrainingProgress(config, title) as progress:

        def watch(state: "TrainingState", scores: "list[CheckpointScore]") -> None:
            progress(state, scores)
            if plot:
                plot(state, scores)

        challenger = train_challenger(config, options.preset, environment, watch)
    published = publish(challenger, repository, name, options.gate, by="dqn-train")
    if options.json:
        command.print_json(published.manifest.model_dump(mode="json") | {"promoted": published.promoted})
    else:
        _tell(published.manifest, repository, promoted=published.promoted)
    if plot:
        plot.keep_open(challenger.state)


def _evaluate(options: EvaluateOptions) -> None:
    _see_working_directory()
    from training.artifact.evaluation import play, summarize  # noqa: PLC0415
    from training.experience.environments import describe  # noqa: PLC0415

    if options.episodes < 1:
        raise command.UsageError(f"--episodes is {options.episodes}; it must be at least 1.")
    repository = ModelRepository(options.repository)
    model, wanted = split_reference(options.model)
    version = repository.resolve(model, wanted)
    manifest = repository.manifest(model, version)
    recorded = manifest.environment
    kwargs = recorded.kwargs if options.env_kwargs is None else options.env_kwargs
    environment = describe(recorded.id, kwargs)
    seed = manifest.evaluation.seed if options.seed is None else options.seed
    limit = int(manifest.training.config.get("episode_step_limit", 27_000))
    episodes = play(repository.load_policy(model, version), environment, seed, options.episodes, limit)
    evaluation = summarize(episodes, seed)
    if options.json:
        command.print_json(evaluation.model_dump(mode="json") | {"returns": episodes.returns.tolist()})
        return
    low, high = evaluation.ci95
    where = f"{recorded.id} {kwargs}" if kwargs else recorded.id
    print(
        f"{model} version {version} in {where}: mean return {evaluation.mean:.2f} (95 % interval {low:.2f} to "
        f"{high:.2f}) over {evaluation.episodes:,} episodes, std {evaluation.std:.2f}, min {evaluation.min:.2f}, "
        f"max {evaluation.max:.2f}, mean length {evaluation.mean_length:.1f}"
    )


def _retrain(options: RetrainOptions) -> None:
    _see_working_directory()
    from training.retrain_loop import run_loop, run_once  # noqa: PLC0415

    if options.every is None:
        run_once(options)
    else:
        run_loop(options)


def _tell(manifest: Manifest, repository: ModelRepository, *, promoted: bool) -> None:
    from training.progress import summary  # noqa: PLC0415

    evaluation, training = manifest.evaluation, manifest.training
    place = repository.root / manifest.model / str(manifest.version)
    low, high = evaluation.ci95
    lines: dict[str, Any] = {
        "published": f"{manifest.model} version {manifest.version} in {place}",
        "training": f"{training.env_steps:,} environment steps, {training.episodes:,} episodes, "
        f"{training.gradient_steps:,} gradient steps, {training.wall_seconds:.1f} s",
        "evaluation": f"mean return {evaluation.mean:.2f} (95 % interval {low:.2f} to {high:.2f}) over "
        f"{evaluation.episodes:,} episodes, min {evaluation.min:.2f}",
        "champion": "yes, it is served from now on" if promoted else "no, the champion stays",
    }
    if manifest.gate:
        lines["gate"] = manifest.gate.reason
    lines["look at"] = f"{place}/training_curve.png, {place}/MODEL_CARD.md"
    if promoted:
        lines["serve it"] = f"dqn-serve --repository {repository.root} --model {manifest.model}"
    summary(lines)


def _see_working_directory() -> None:
    """Lets `--env-id module:Name-v0` find a module in the working directory, as `python -m` would."""
    if "" not in sys.path:
        sys.path.insert(0, "")


@contextlib.contextmanager
def _wrong_usage() -> Any:
    """Makes a ValueError, which names a setting and its value, a wrong usage."""
    try:
        yield
    except ValueError as error:
        raise command.UsageError(str(error)) from error
