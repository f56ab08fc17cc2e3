"""What came of a training run, as JSON and in words."""

from typing import TYPE_CHECKING, Any

from dqn_models import cli_support
from dqn_models.manifest import Manifest
from dqn_models.repository import ModelRepository
from dqn_training.cli.train_options import TrainOptions

if TYPE_CHECKING:
    from dqn_training.publishing.publish import Published


def result_of(published: "Published") -> dict[str, Any]:
    """What `dqn-train` prints as JSON and keeps as result.json: the manifest, and whether it was promoted."""
    return published.manifest.model_dump(mode="json") | {"promoted": published.promoted}


def show(options: TrainOptions, result: dict[str, Any]) -> None:
    """Prints such a result, as JSON or for a reader."""
    if options.json:
        cli_support.print_json(result)
    else:
        _tell(Manifest.model_validate(result), ModelRepository(options.repository), promoted=result["promoted"])


def _tell(manifest: Manifest, repository: ModelRepository, *, promoted: bool) -> None:
    from dqn_training.tracking.progress import summary  # noqa: PLC0415

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
