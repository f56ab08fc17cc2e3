"""`dqn-evaluate`: plays a published policy."""

import contextlib
from typing import TYPE_CHECKING, Any

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
from dqn_training.evaluation.play import SLOTS, beside_random, step_limit, summarize

if TYPE_CHECKING:  # an extra
    from dqn_training.evaluation.video import EpisodeRenderer


def run(options: EvaluateOptions) -> None:
    """Plays the episodes and prints the result."""
    with output_to_stderr():
        sentence, result = _evaluate(options)
    if options.json:
        cli_support.print_json(result)
        return
    print(sentence)
    if film := result.get("video"):
        print(f"filmed {film['frames']:,} pictures in {options.video}, returns {film['returns']}")


def _evaluate(options: EvaluateOptions) -> tuple[str, dict[str, Any]]:
    """The result in words, without the film, and as JSON."""
    repository = ModelRepository(options.repository)
    model, wanted = split_reference(options.model)
    version = repository.resolve(model, wanted)
    manifest = repository.manifest(model, version)
    recorded = manifest.environment
    kwargs = recorded.kwargs if options.env_kwargs is None else options.env_kwargs
    environment = describe(recorded.id, kwargs, recorded.wrappers)
    seed = manifest.evaluation.seed if options.seed is None else options.seed
    config = manifest.training.config
    limit = step_limit(config.get("episode_step_limit"), environment)
    renderer = _renderer(options, environment)
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
    if renderer is not None:
        result["video"] = _film(options, renderer, policy, seed, limit)
    low, high = evaluation.ci95
    where = f"{recorded.id} {kwargs}" if kwargs else recorded.id
    return (
        f"{model} version {version} in {where}: mean return {evaluation.mean:.2f} (95 % interval {low:.2f} to "
        f"{high:.2f}) over {evaluation.episodes:,} episodes, std {evaluation.std:.2f}, min {evaluation.min:.2f}, "
        f"max {evaluation.max:.2f}, mean length {evaluation.mean_length:.1f}{beside_random(evaluation)}"
    ), result


def _renderer(options: EvaluateOptions, environment: EnvironmentInfo) -> "EpisodeRenderer | None":
    """The environment to film in, where a film is asked for; raises what would prevent it before anything is played."""
    if options.video is None:
        return None
    with cli_support.needs_extra("--video", "video"):
        from dqn_training.evaluation.video import EpisodeRenderer, check_film  # noqa: PLC0415  (an extra)

        with wrong_usage():
            check_film(options.video)
            return EpisodeRenderer(environment)


def _film(
    options: EvaluateOptions, renderer: "EpisodeRenderer", policy: Policy, seed: int, limit: int
) -> dict[str, Any]:
    from dqn_training.evaluation.video import write_film  # noqa: PLC0415  (an extra)

    assert options.video is not None  # noqa: S101  (there would be no renderer)
    with contextlib.closing(renderer):
        pictures = renderer.frames(policy, seed, options.video_episodes, limit)
        frames = write_film(options.video, pictures, renderer.fps)
    return {"file": str(options.video), "frames": frames, "fps": renderer.fps, "returns": renderer.returns}
