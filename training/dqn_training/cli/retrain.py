"""`dqn-retrain`: a round of the retraining job, or a loop of rounds."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from dqn_models import cli_support
from dqn_models.repository import ModelRepository
from dqn_training.cli.flags import Directory, Flag, PresetName, Rule, parse, preset_of, read_first, seconds
from dqn_training.cli.running import see_working_directory, wrong_usage
from dqn_training.config import DQNConfig
from dqn_training.presets import default_model_name
from dqn_training.retraining.champion import champion_config


@dataclasses.dataclass(frozen=True)
class RetrainOptions:
    """Train a challenger for the champion of a model and let the gate decide which of them is served.

    Settings not given here are those of the champion. One job at a time for each model.
    """

    preset: PresetName
    """Settings to start from, by name or in a file as dqn-tune writes it; by default the champion's own."""
    config: DQNConfig
    once: Flag = False
    """Do one round and end; for cron."""
    every: str | None = None
    """Start a round this often, such as 90s, 15m or 2h, until stopped."""
    start: Literal["warm", "scratch", "both"] = "warm"
    """Go on from the champion's weights, begin anew, or do both and take the better challenger."""
    name: str | None = None
    """Name of the model; by default the environment's, such as cartpole."""
    repository: Directory = dataclasses.field(default_factory=cli_support.default_repository)
    """Model repository; its default is $DQN_REPOSITORY or models/store."""
    gate: Rule = "non-inferior"
    """Rule for taking the champion's place: at most 1 % worse, or better, with 95 % confidence."""
    metrics_port: int = 8001
    """Port of the job's own Prometheus metrics with --every; 0 for none."""
    metrics_host: str = "127.0.0.1"
    """Address that they are served on."""
    json: Flag = False
    """Print the result of each round as one JSON line on standard output."""


def retrain_options(args: Sequence[str]) -> RetrainOptions:
    """Reads the flags of `dqn-retrain`, whose defaults are the champion's settings where there is a champion."""
    first = read_first(args)
    preset, config = preset_of(first)
    if first.preset is None:
        repository = ModelRepository(first.repository or cli_support.default_repository())
        found = champion_config(repository, first.name or default_model_name(first.env_id or config.env_id))
        config, preset = found or (config, preset)
    options = parse(RetrainOptions, "dqn-retrain", args, RetrainOptions(preset=preset, config=config))
    options = dataclasses.replace(options, preset=preset)
    if options.once == (options.every is not None):
        raise cli_support.UsageError("Say either --once or --every INTERVAL, such as --every 15m.")
    if options.every is not None:
        seconds(options.every)
    return options


def run_retrain(options: RetrainOptions) -> None:
    """One round, or rounds until stopped."""
    see_working_directory()
    from dqn_training.networks.device import check_device  # noqa: PLC0415
    from dqn_training.retraining.loop import run_loop, run_once  # noqa: PLC0415

    with wrong_usage():
        check_device(options.config)
    if options.every is None:
        run_once(options)
    else:
        run_loop(options)
