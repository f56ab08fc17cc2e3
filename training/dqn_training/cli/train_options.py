"""The flags of `dqn-train`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from dqn_models import cli_support
from dqn_training.cli.flags import (
    Directory,
    First,
    Flag,
    Given,
    PresetName,
    Repository,
    given_settings,
    parse,
    preset_of,
    read_first,
)
from dqn_training.config import DQNConfig
from dqn_training.evaluation.gate import Rule
from dqn_training.presets import default_model_name, preset_label
from dqn_training.ranges import Between
from dqn_training.run.directory import RunDirectory

_AUTO = Path("auto")
RECORDED = ("name", "preset", "gate", "checkpoint_seconds")
"""What run.json has of the options, besides the settings and the repository."""
_FIXED = ("preset", "name", "gate", "run_dir")  # and every setting: a resumed run keeps them


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Train a DQN policy, export it to ONNX, judge it and publish it to the model repository.

    The first version of a model becomes its champion, the one that is served; a later one only if it passes the gate.
    """

    preset: PresetName
    """Settings to start from, by name or in a file as dqn-tune writes it; other flags change them. By default the
    environment's own, or general, which chooses what suits the environment wherever no flag decides."""
    config: DQNConfig
    name: str = ""
    """Name of the model; by default the environment's, such as cartpole."""
    repository: Repository = dataclasses.field(default_factory=cli_support.default_repository)
    gate: Rule = "non-inferior"
    """Rule for taking the champion's place with 95 % confidence: better, or at most a little worse: by 1 % of the
    champion's mean return or by 0.2 of its standard deviation, whichever is larger."""
    run_dir: Directory | None = None
    """Where the run keeps its checkpoint and logs; by default runs/NAME-TIME, or $DQN_RUNS/NAME-TIME."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="DIR|auto")] = None
    """Resume the run in this directory, with its settings; print its result if it is finished. auto: resume the run in
    --run-dir, or begin it there, so that the same command restarts a job."""
    checkpoint_seconds: Annotated[float, Between(0)] = 10.0
    """Seconds from one checkpoint to the next; more where they would take over 2 % of the time. 0: no checkpoints."""
    tensorboard: Flag = False
    """Write TensorBoard's event files into the run's directory, beside metrics.csv; needs the extra tensorboard."""
    mlflow: Annotated[str | None, tyro.conf.arg(metavar="URI")] = None
    """Log to an MLflow tracking server too, such as http://127.0.0.1:5000; by default that of $MLFLOW_TRACKING_URI, if
    set. Needs the extra mlflow."""
    live_plot: Flag = False
    """Draw the episode durations while training, in a window or a notebook."""
    json: Flag = False
    """Print the new version's manifest as one JSON line on standard output."""
    given: Given = None


def train_options(args: Sequence[str]) -> TrainOptions:
    """Reads the flags of `dqn-train`; exits with status 2 and a sentence when they are wrong."""
    first = read_first(args)
    resumed = _run_to_resume(first)
    if resumed is not None:
        return _options_of_run(resumed, first, args)
    preset, config = preset_of(first)
    name = default_model_name(config.env_id)
    options = parse(TrainOptions, "dqn-train", args, TrainOptions(preset=preset, config=config, name=name))
    name = options.name if first.name else default_model_name(options.config.env_id)
    return dataclasses.replace(options, preset=preset, name=name, resume=None, given=given_settings(args))


def _run_to_resume(first: First) -> Path | None:
    """The directory of the run that --resume means; None where a new run is to begin."""
    if first.resume != _AUTO:
        return first.resume
    if first.run_dir is None:
        raise cli_support.UsageError("--resume auto needs --run-dir DIR, the directory where the run is or will be.")
    return first.run_dir if RunDirectory(first.run_dir).description.exists() else None


def _options_of_run(path: Path, first: First, args: Sequence[str]) -> TrainOptions:
    """The options that the run in this directory began with. Raises UsageError for contradicting flags."""
    directory = RunDirectory(path)
    run = directory.read_description()
    kept: dict[str, Any] = {name: getattr(run, name) for name in RECORDED}
    config, repository = DQNConfig.from_json(run.config), directory.resolve(run.repository)
    began = TrainOptions(config=config, repository=repository, run_dir=path, **kept)
    asked = parse(TrainOptions, "dqn-train", args, began)
    asked = dataclasses.replace(asked, preset=preset_label(first.preset) if first.preset else run.preset, resume=path)
    before, now = (
        {name: getattr(options, name) for name in _FIXED} | options.config.to_json() for options in (began, asked)
    )
    for name in before:
        if now[name] != before[name]:
            raise cli_support.UsageError(
                f"--{name.replace('_', '-')} is {now[name]}, but the run in {path} began with {before[name]}. Leave "
                "the flag out, or begin a new run in another directory."
            )
    if not asked.repository.is_dir():
        raise cli_support.UsageError(
            f"The run in {path} publishes in {asked.repository}, which does not exist. If it was moved, say where "
            "it is with --repository."
        )
    return asked
