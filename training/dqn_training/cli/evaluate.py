"""`dqn-evaluate`: plays a published policy."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dqn_models import cli_support
from dqn_models.layout import ONNX_FILE, split_reference
from dqn_models.manifest import EnvironmentInfo
from dqn_models.policy import Policy
from dqn_models.repository import ModelRepository
from dqn_models.streams import output_to_stderr
from dqn_training.cli.options import EvaluateOptions
from dqn_training.cli.running import wrong_usage
from dqn_training.envs.make import describe
from dqn_training.evaluation.evaluator import Evaluator
from dqn_training.evaluation.play import SLOTS, remarks, step_limit, summarize


def run(options: EvaluateOptions) -> None:
    """Plays the episodes and prints the result."""
    with output_to_stderr():
        sentence, result = _evaluate(options)
    if options.json:
        cli_support.print_json(result)
        return
    print(sentence)
    if video := result.get("video"):
        print(f"recorded {video['frames']:,} frames in {options.video}, returns {video['returns']}")


def _evaluate(options: EvaluateOptions) -> tuple[str, dict[str, Any]]:
    """The result as a sentence, without the video, and as JSON."""
    repository = ModelRepository(options.repository)
    model, wanted = split_reference(options.model)
    version = repository.resolve(model, wanted)
    manifest = repository.manifest(model, version)
    recorded = manifest.environment
    kwargs = recorded.kwargs if options.env_kwargs is None else options.env_kwargs
    discretize, masked = getattr(recorded.action_space, "discretize", None), recorded.action_mask is not None
    branching = bool(recorded.action_space.branches)
    environment = describe(recorded.id, kwargs, recorded.wrappers, discretize, masked=masked, branching=branching)
    seed = manifest.evaluation.seed if options.seed is None else options.seed
    config = manifest.training.config
    limit = step_limit(config.get("episode_step_limit"), environment)
    record = _recorder(options.video, environment) if options.video else None
    policy = repository.load_policy(model, version)
    slots = options.eval_envs or config.get("eval_envs", SLOTS)
    with contextlib.closing(Evaluator(environment, slots, limit)) as evaluator:
        episodes = evaluator.play(repository.read_file(model, version, ONNX_FILE), seed, options.episodes)
    evaluation = summarize(episodes, seed)
    if environment.kwargs == recorded.kwargs:
        known = manifest.evaluation
        evaluation = evaluation.model_copy(
            update={"random_mean": known.random_mean, "random_episodes": known.random_episodes}
        )
    result = evaluation.model_dump(mode="json") | {"returns": episodes.returns.tolist()}
    if record:
        result["video"] = record(policy, seed, options.video_episodes, limit)
    low, high = evaluation.ci95
    where = f"{recorded.id} {kwargs}" if kwargs else recorded.id
    return (
        f"{model} version {version} in {where}: mean return {evaluation.mean:.2f} (95 % interval {low:.2f} to "
        f"{high:.2f}) over {evaluation.episodes:,} episodes, std {evaluation.std:.2f}, min {evaluation.min:.2f}, "
        f"max {evaluation.max:.2f}, mean length {evaluation.mean_length:.1f}{remarks(evaluation)}"
    ), result


def _recorder(path: Path, environment: EnvironmentInfo) -> Callable[[Policy, int, int, int], dict[str, Any]]:
    """A function that records episodes as a video; raises UsageError at once if that will be impossible."""
    with cli_support.needs_extra("--video", "video"):
        from dqn_training.evaluation.video import EpisodeRenderer, check_video, write_video  # noqa: PLC0415  (an extra)
    with wrong_usage():
        check_video(path)
        renderer = EpisodeRenderer(environment)

    def record(policy: Policy, seed: int, episodes: int, step_limit: int) -> dict[str, Any]:
        with contextlib.closing(renderer):
            frames = write_video(path, renderer.frames(policy, seed, episodes, step_limit), renderer.fps)
        return {"file": str(path), "frames": frames, "fps": renderer.fps, "returns": renderer.returns}

    return record
