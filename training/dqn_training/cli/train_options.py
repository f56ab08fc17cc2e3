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
"""The options stored in run.json, besides the settings and the repository."""
_FIXED = ("preset", "name", "gate", "run_dir")  # cannot change in a resumed run, nor can any setting


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Train a DQN policy, evaluate it, and publish it as ONNX to the model repository.

    The first version of a model becomes the champion, which is the version served; later ones must pass the gate.
    """

    preset: PresetName
    """Settings to start from: a preset's name, or a file such as those dqn-tune writes; other flags override them.
    Default: the environment's preset, or general, which chooses suitable values for settings not given as flags."""
    config: DQNConfig
    name: str = ""
    """Name of the model; default: derived from the environment, e.g. cartpole."""
    repository: Repository = dataclasses.field(default_factory=cli_support.default_repository)
    gate: Rule = "non-inferior"
    """Rule for replacing the champion, with 95 % confidence. superior: a higher mean return; non-inferior: lower by at
    most 1 % of the champion's mean return or 0.2 of its standard deviation, whichever is larger."""
    run_dir: Directory | None = None
    """Directory for the run's checkpoint and logs; default: runs/NAME-TIME, or $DQN_RUNS/NAME-TIME."""
    resume: Annotated[Path | None, tyro.conf.arg(metavar="DIR|auto")] = None
    """Resume the run in this directory, with its settings, or print its result if it has finished. auto: resume the run
    in --run-dir, or start it there, so that the same command restarts a job."""
    checkpoint_seconds: Annotated[float, Between(0)] = 10.0
    """Seconds between checkpoints, extended if they would take more than 2 % of the time; 0: no checkpoints."""
    tensorboard: Flag = False
    """Also write TensorBoard event files to the run directory; needs the extra tensorboard."""
    mlflow: Annotated[str | None, tyro.conf.arg(metavar="URI")] = None
    """Also log to an MLflow tracking server, e.g. http://127.0.0.1:5000; default: $MLFLOW_TRACKING_URI, if set. Needs
    the extra mlflow."""
    live_plot: Flag = False
    """Plot the episode durations during training, in a window or a notebook."""
    json: Flag = False
    """Print the new version's manifest as one JSON line on standard output."""
    given: Given = None


def train_options(args: Sequence[str]) -> TrainOptions:
    """Parses the flags of `dqn-train`; exits with status 2 and a sentence if they are invalid."""
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
    """The directory of the run to resume; None for a new run."""
    if first.resume != _AUTO:
        return first.resume
    if first.run_dir is None:
        raise cli_support.UsageError("--resume auto needs --run-dir DIR, the run's directory, which may not exist yet.")
    return first.run_dir if RunDirectory(first.run_dir).description.exists() else None


def _options_of_run(path: Path, first: First, args: Sequence[str]) -> TrainOptions:
    """The options that the run in this directory was started with. Raises UsageError for contradicting flags."""
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
                f"--{name.replace('_', '-')} is {now[name]}, but the run in {path} was started with {before[name]}. "
                "Omit the flag, or start a new run in another directory."
            )
    if not asked.repository.is_dir():
        raise cli_support.UsageError(
            f"The run in {path} publishes to {asked.repository}, which does not exist. If it was moved, give its new "
            "place with --repository."
        )
    return asked
