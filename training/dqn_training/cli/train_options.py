"""The flags of `dqn-train`."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from dqn_models import cli_support
from dqn_training.cli.flags import Directory, Flag, PresetName, Rule, parse, preset_of, read_first
from dqn_training.config import DQNConfig
from dqn_training.presets import preset_label
from dqn_training.run.directory import RunDirectory


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
    repository: Directory = dataclasses.field(default_factory=cli_support.default_repository)
    """Model repository; its default is $DQN_REPOSITORY or models/store."""
    gate: Rule = "non-inferior"
    """Rule for taking the champion's place: at most 1 % worse, or better, with 95 % confidence."""
    run_dir: Directory | None = None
    """Where the run keeps its checkpoint and logs; by default runs/NAME-TIME, or $DQN_RUNS/NAME-TIME."""
    resume: Directory | None = None
    """Go on with the run that has this directory, with its settings; or say what came of it."""
    checkpoint_seconds: float = 10.0
    """Seconds from one checkpoint to the next; more where they would take over 2 % of the time. 0: no checkpoints."""
    tensorboard: Flag = False
    """Write TensorBoard's event files into the run's directory, beside metrics.csv; needs the extra tensorboard."""
    mlflow: Annotated[str | None, tyro.conf.arg(metavar="URI")] = None
    """Tell an MLflow tracking server too, such as http://127.0.0.1:5000; by default that of $MLFLOW_TRACKING_URI, if
    set. Needs the extra mlflow."""
    live_plot: Flag = False
    """Draw the episode durations while training, in a window or a notebook."""
    json: Flag = False
    """Print the new version's manifest as one JSON line on standard output."""


def train_options(args: Sequence[str]) -> TrainOptions:
    """Reads the flags of `dqn-train`; exits with status 2 and a sentence when they are wrong."""
    first = read_first(args)
    if first.resume is not None:
        options = _options_of_run(Path(first.resume), first.preset, args)
    else:
        preset, config = preset_of(first)
        options = parse(TrainOptions, "dqn-train", args, TrainOptions(preset=preset, config=config))
        options = dataclasses.replace(options, preset=preset)
    if not 0 <= options.checkpoint_seconds < math.inf:
        raise cli_support.UsageError(f"--checkpoint-seconds is {options.checkpoint_seconds}; it must be 0 or more.")
    return options


def _options_of_run(path: Path, preset: str | None, args: Sequence[str]) -> TrainOptions:
    """The options that the run in this directory began with. Raises UsageError for flags that say otherwise."""
    run = RunDirectory(path).read_description()
    began = TrainOptions(
        preset=run.preset,
        config=DQNConfig.from_json(run.config),
        name=run.name,
        repository=Path(run.repository),
        gate=run.gate,  # type: ignore[arg-type]  # it was checked then
        resume=path,
    )
    asked = parse(TrainOptions, "dqn-train", args, began)
    asked = dataclasses.replace(
        asked, preset=preset_label(preset) if preset else run.preset, repository=asked.repository.absolute()
    )
    _check_same("run_dir", asked.run_dir or path, path, path)
    for name in ("preset", "name", "repository", "gate"):
        _check_same(name, getattr(asked, name), getattr(began, name), path)
    for field in dataclasses.fields(DQNConfig):
        _check_same(field.name, getattr(asked.config, field.name), getattr(began.config, field.name), path)
    return asked


def _check_same(name: str, asked: object, began: object, path: Path) -> None:
    if asked != began:
        raise cli_support.UsageError(
            f"--{name.replace('_', '-')} is {asked}, but the run in {path} began with {began}. Leave the flag out, or "
            "begin a new run without --resume."
        )
