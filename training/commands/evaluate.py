"""`dqn-evaluate`: plays a published policy."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import tyro

from models import command
from models.layout import split_reference
from models.repository import ModelRepository
from training.commands.flags import Directory, Flag, parse
from training.commands.running import see_working_directory
from training.config import JsonObject


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """Play episodes with a published policy: the ONNX file, greedily, as it is served."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL[@VERSION]")]
    """Model, with a version number or an alias; by default the champion."""
    episodes: int = 100
    """How many episodes."""
    seed: int | None = None
    """First environment seed, one for each episode; by default that of the manifest's own evaluation."""
    env_kwargs: JsonObject | None = None
    """Arguments of the environment's constructor; by default those of the manifest."""
    repository: Directory = dataclasses.field(default_factory=command.default_repository)
    """Model repository; its default is $DQN_REPOSITORY or models/store."""
    json: Flag = False
    """Print the result with every return as one JSON line on standard output."""


def evaluate_options(args: Sequence[str]) -> EvaluateOptions:
    """Reads the flags of `dqn-evaluate`."""
    return parse(EvaluateOptions, "dqn-evaluate", args, None)


def run_evaluate(options: EvaluateOptions) -> None:
    """Plays the episodes and prints what came of them."""
    see_working_directory()
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
    environment = describe(recorded.id, kwargs, recorded.wrappers)
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
