"""`dqn-evaluate`: plays a published policy."""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from dqn_models import cli_support
from dqn_models.layout import split_reference
from dqn_models.manifest import EnvironmentInfo
from dqn_models.policy import Policy
from dqn_models.repository import ModelRepository
from dqn_training.cli.flags import Directory, Flag, parse
from dqn_training.cli.running import needs_extra, see_working_directory, wrong_usage
from dqn_training.config import JsonObject

if TYPE_CHECKING:
    from dqn_training.video.frames import Stage


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
    repository: Directory = dataclasses.field(default_factory=cli_support.default_repository)
    """Model repository; its default is $DQN_REPOSITORY or models/store."""
    video: Annotated[Path | None, tyro.conf.arg(metavar="FILE.mp4|FILE.gif")] = None
    """Film episodes too, from the same first seed on; needs the extra video."""
    video_episodes: int = 1
    """How many episodes are filmed."""
    json: Flag = False
    """Print the result with every return as one JSON line on standard output."""


def evaluate_options(args: Sequence[str]) -> EvaluateOptions:
    """Reads the flags of `dqn-evaluate`."""
    return parse(EvaluateOptions, "dqn-evaluate", args, None)


def run_evaluate(options: EvaluateOptions) -> None:
    """Plays the episodes and prints what came of them."""
    see_working_directory()
    from dqn_training.envs.make import describe  # noqa: PLC0415
    from dqn_training.evaluation.play import play, summarize  # noqa: PLC0415

    for name in ("episodes", "video_episodes"):
        if getattr(options, name) < 1:
            flag = name.replace("_", "-")
            raise cli_support.UsageError(f"--{flag} is {getattr(options, name)}; it must be at least 1.")
    repository = ModelRepository(options.repository)
    model, wanted = split_reference(options.model)
    version = repository.resolve(model, wanted)
    manifest = repository.manifest(model, version)
    recorded = manifest.environment
    kwargs = recorded.kwargs if options.env_kwargs is None else options.env_kwargs
    environment = describe(recorded.id, kwargs, recorded.wrappers)
    seed = manifest.evaluation.seed if options.seed is None else options.seed
    limit = int(manifest.training.config.get("episode_step_limit", 27_000))
    stage = None if options.video is None else _stage(options.video, environment)
    policy = repository.load_policy(model, version)
    episodes = play(policy, environment, seed, options.episodes, limit)
    evaluation = summarize(episodes, seed)
    film = {} if stage is None else {"video": _film(options, stage, policy, seed, limit)}
    if options.json:
        cli_support.print_json(evaluation.model_dump(mode="json") | {"returns": episodes.returns.tolist()} | film)
        return
    low, high = evaluation.ci95
    where = f"{recorded.id} {kwargs}" if kwargs else recorded.id
    print(
        f"{model} version {version} in {where}: mean return {evaluation.mean:.2f} (95 % interval {low:.2f} to "
        f"{high:.2f}) over {evaluation.episodes:,} episodes, std {evaluation.std:.2f}, min {evaluation.min:.2f}, "
        f"max {evaluation.max:.2f}, mean length {evaluation.mean_length:.1f}"
    )
    if film:
        print(f"filmed {film['video']['frames']:,} pictures in {options.video}, returns {film['video']['returns']}")


def _stage(path: Path, environment: EnvironmentInfo) -> "Stage":
    """The environment to film in; whatever would prevent the film is told before anything is played."""
    with needs_extra("--video", "video"):
        from dqn_training.video.files import check_film  # noqa: PLC0415
        from dqn_training.video.frames import Stage  # noqa: PLC0415

        with wrong_usage():
            check_film(path)
            return Stage(environment)


def _film(options: EvaluateOptions, stage: "Stage", policy: Policy, seed: int, limit: int) -> dict[str, Any]:
    from dqn_training.video.files import write_film  # noqa: PLC0415

    assert options.video is not None  # noqa: S101  (there would be no stage)
    with contextlib.closing(stage):
        pictures = stage.frames(policy, seed, options.video_episodes, limit)
        frames = write_film(options.video, pictures, stage.fps)
    returns = [episode.total_reward for episode in stage.filmed]
    return {"file": str(options.video), "frames": frames, "fps": stage.fps, "returns": returns}
