"""`dqn-train`: one run, from flags to a published version."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from models import command
from models.manifest import Manifest
from models.repository import ModelRepository
from training.commands.flags import Directory, Flag, PresetName, Rule, parse, preset_of, read_first
from training.commands.running import see_working_directory, wrong_usage
from training.config import DQNConfig
from training.presets import default_model_name

if TYPE_CHECKING:
    from training.learning.selection import CheckpointScore
    from training.learning.state import TrainingState


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Train a DQN policy, export it to ONNX, judge it and publish it to the model repository.

    The first version of a model becomes its champion, the one that is served; a later one only if it passes the gate.
    """

    preset: PresetName
    """Settings to start from, by name or in a file as dqn-tune writes it; other flags change them. By default the
    environment's own, or general."""
    config: DQNConfig
    name: str | None = None
    """Name of the model; by default the environment's, such as cartpole."""
    repository: Directory = dataclasses.field(default_factory=command.default_repository)
    """Model repository; its default is $DQN_REPOSITORY or models/store."""
    gate: Rule = "non-inferior"
    """Rule for taking the champion's place: at most 1 % worse, or better, with 95 % confidence."""
    live_plot: Flag = False
    """Draw the episode durations while training, in a window or a notebook."""
    json: Flag = False
    """Print the new version's manifest as one JSON line on standard output."""


def train_options(args: Sequence[str]) -> TrainOptions:
    """Reads the flags of `dqn-train`; exits with status 2 and a sentence when they are wrong."""
    first = read_first(args)
    preset, config = preset_of(first)
    options = parse(TrainOptions, "dqn-train", args, TrainOptions(preset=preset, config=config))
    return dataclasses.replace(options, preset=preset)


def run_train(options: TrainOptions) -> None:
    """Trains, judges, publishes and says what came of it."""
    see_working_directory()
    from training.challenger import train_challenger  # noqa: PLC0415
    from training.experience.environments import environment_for  # noqa: PLC0415
    from training.live_plot import LivePlot  # noqa: PLC0415
    from training.pipeline import publish  # noqa: PLC0415
    from training.progress import TrainingProgress  # noqa: PLC0415

    config = options.config
    with wrong_usage():
        environment = environment_for(config)
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
