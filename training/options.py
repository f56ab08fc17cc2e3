"""The flags of the training commands, each with its default and help; fields of DQNConfig are flags too.

A preset, a champion or an environment decides the defaults of the other flags, so that a few flags are read first.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

import tyro

from models import command
from models.repository import ModelRepository
from training.champion import champion_config
from training.config import DQNConfig, JsonObject
from training.presets import PRESETS, default_model_name, default_preset

PresetName = Literal["cartpole", "tutorial", "general"]
Rule = Literal["non-inferior", "superior"]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Options = TypeVar("Options")


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Train a DQN policy, export it to ONNX, judge it and publish it to the model repository.

    The first version of a model becomes its champion, the one that is served; a later one only if it passes the gate.
    """

    preset: PresetName
    """Settings to start from; other flags change them. Default: cartpole, or general for another environment."""
    config: DQNConfig
    name: str | None = None
    """Name of the model; by default the environment's, such as cartpole."""
    repository: Annotated[Path, tyro.conf.arg(metavar="DIR")] = dataclasses.field(
        default_factory=command.default_repository
    )
    """Model repository; its default is $DQN_REPOSITORY or models/store."""
    gate: Rule = "non-inferior"
    """Rule for taking the champion's place: at most 1 % worse, or better, with 95 % confidence."""
    live_plot: Flag = False
    """Draw the episode durations while training, in a window or a notebook."""
    json: Flag = False
    """Print the new version's manifest as one JSON line on standard output."""


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
    repository: Annotated[Path, tyro.conf.arg(metavar="DIR")] = dataclasses.field(
        default_factory=command.default_repository
    )
    """Model repository; its default is $DQN_REPOSITORY or models/store."""
    json: Flag = False
    """Print the result with every return as one JSON line on standard output."""


@dataclasses.dataclass(frozen=True)
class RetrainOptions:
    """Train a challenger for the champion of a model and let the gate decide which of them is served.

    Settings not given here are those of the champion. One job at a time for each model.
    """

    preset: PresetName
    """Settings to start from; by default the champion's own."""
    config: DQNConfig
    once: Flag = False
    """Do one round and end; for cron."""
    every: str | None = None
    """Start a round this often, such as 90s, 15m or 2h, until stopped."""
    start: Literal["warm", "scratch", "both"] = "warm"
    """Go on from the champion's weights, begin anew, or do both and take the better challenger."""
    name: str | None = None
    """Name of the model; by default the environment's, such as cartpole."""
    repository: Annotated[Path, tyro.conf.arg(metavar="DIR")] = dataclasses.field(
        default_factory=command.default_repository
    )
    """Model repository; its default is $DQN_REPOSITORY or models/store."""
    gate: Rule = "non-inferior"
    """Rule for taking the champion's place: at most 1 % worse, or better, with 95 % confidence."""
    metrics_port: int = 8001
    """Port of the job's own Prometheus metrics with --every; 0 for none."""
    metrics_host: str = "127.0.0.1"
    """Address that they are served on."""
    json: Flag = False
    """Print the result of each round as one JSON line on standard output."""


class _First(NamedTuple):
    """The flags that decide the defaults of the others."""

    preset: str | None
    env_id: str | None
    name: str | None
    repository: str | None


def train_options(args: Sequence[str]) -> TrainOptions:
    """Reads the flags of `dqn-train`; exits with status 2 and a sentence when they are wrong."""
    first = _read_first(args)
    preset = first.preset or default_preset(first.env_id)
    default = TrainOptions(preset=preset, config=PRESETS[preset])  # type: ignore[arg-type]  # _read_first checked it
    return _parse(TrainOptions, "dqn-train", args, default)


def evaluate_options(args: Sequence[str]) -> EvaluateOptions:
    """Reads the flags of `dqn-evaluate`."""
    return _parse(EvaluateOptions, "dqn-evaluate", args, None)


def retrain_options(args: Sequence[str]) -> RetrainOptions:
    """Reads the flags of `dqn-retrain`, whose defaults are the champion's settings where there is a champion."""
    first = _read_first(args)
    preset = first.preset or default_preset(first.env_id)
    config = PRESETS[preset]
    if first.preset is None:
        repository = ModelRepository(first.repository or command.default_repository())
        found = champion_config(repository, first.name or default_model_name(first.env_id or config.env_id))
        config, preset = found or (config, preset)
    preset = preset if preset in PRESETS else "general"
    default = RetrainOptions(preset=preset, config=config)  # type: ignore[arg-type]  # as above
    options = _parse(RetrainOptions, "dqn-retrain", args, default)
    if options.once == (options.every is not None):
        raise command.UsageError("Say either --once or --every INTERVAL, such as --every 15m.")
    if options.every is not None:
        seconds(options.every)
    return options


def seconds(interval: str) -> float:
    """An interval such as 90s, 15m or 2h in seconds. Raises UsageError for anything else."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    number, unit = interval[:-1], interval[-1:]
    try:
        value = float(number) * units[unit]
    except (KeyError, ValueError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise command.UsageError(f"--every is {interval!r}; expected is a number with s, m, h or d, such as 15m.")
    return value


def _read_first(args: Sequence[str]) -> _First:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for flag in ("--preset", "--env-id", "--name", "--repository"):
        parser.add_argument(flag, nargs="?")
    known = parser.parse_known_args([argument.replace("_", "-", argument.startswith("--")) for argument in args])[0]
    preset = known.preset if known.preset in PRESETS else None  # tyro tells of a wrong one
    return _First(preset, known.env_id, known.name, known.repository)


def _parse(kind: type[Options], program: str, args: Sequence[str], default: Options | None) -> Options:
    default_or_missing = tyro.MISSING_NONPROP if default is None else default
    return tyro.cli(kind, prog=program, args=args, default=default_or_missing, config=(tyro.conf.OmitArgPrefixes,))
