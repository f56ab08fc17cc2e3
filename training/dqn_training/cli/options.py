"""The flags of `dqn-evaluate`, `dqn-retrain`, `dqn-tune` and `dqn-compare`; parsing them does not import torch."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dqn_models import cli_support
from dqn_models.repository import ModelRepository
from dqn_training.cli.flags import (
    Flag,
    Given,
    PresetName,
    Repository,
    given_settings,
    parse,
    preset_of,
    read_first,
    seconds,
)
from dqn_training.config import DQNConfig
from dqn_training.evaluation.gate import Rule
from dqn_training.presets import default_model_name
from dqn_training.ranges import Between, Count, JsonObject


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """Evaluate a published policy: play episodes with its ONNX file, greedily, as it is served."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL[@VERSION]")]
    """Model, with a version number or an alias; default: the champion."""
    episodes: Count = 100
    """Number of episodes to play."""
    seed: Annotated[int | None, Between(0)] = None
    """Environment seed of the first episode; each further episode adds 1. Default: that of the evaluation in the
    manifest."""
    eval_envs: Annotated[int | None, Between(1)] = None
    """Environments that play at once; default: as in the version's training. 1: a single one in a separate process."""
    env_kwargs: JsonObject | None = None
    """Keyword arguments of the environment's constructor, as a JSON object; default: those of the manifest."""
    repository: Repository = dataclasses.field(default_factory=cli_support.default_repository)
    video: Annotated[Path | None, tyro.conf.arg(metavar="FILE.mp4|FILE.gif")] = None
    """Also record a video of episodes, starting from the same seed; needs the extra video."""
    video_episodes: Count = 1
    """Number of episodes to record with --video."""
    json: Flag = False
    """Print the result, including every return, as one JSON line on standard output."""


def evaluate_options(args: Sequence[str]) -> EvaluateOptions:
    """Parses the flags of `dqn-evaluate`."""
    return parse(EvaluateOptions, "dqn-evaluate", args, None)


@dataclasses.dataclass(frozen=True)
class RetrainOptions:
    """Train a challenger to a model's champion and let the gate decide which of them is served.

    Settings not given here are the champion's at the start of each round. If there is no champion, the first round
    trains one; with --name, it then requires --env-id or --preset. Only one job per model can run at a time.
    """

    preset: PresetName
    """Settings to start from: a preset's name, or a file such as those dqn-tune writes. Default: the champion's
    settings."""
    config: DQNConfig
    once: Flag = False
    """Run one round and exit, e.g. from cron."""
    every: str | None = None
    """Start a round at this interval, e.g. 90s, 15m or 2h, until stopped."""
    start: Literal["warm", "scratch", "both"] = "warm"
    """Train from the champion's weights (warm), from scratch, or both and take the better challenger."""
    name: str = ""
    """Name of the model; default: derived from the environment, e.g. cartpole."""
    repository: Repository = dataclasses.field(default_factory=cli_support.default_repository)
    gate: Rule = "non-inferior"
    """Rule for replacing the champion, with 95 % confidence. superior: a higher mean return; non-inferior: lower by at
    most 1 % of the champion's mean return or 0.2 of its standard deviation, whichever is larger."""
    metrics_port: Annotated[int, Between(0, 65535)] = 8001
    """Port for this job's Prometheus metrics with --every; 0: none."""
    metrics_host: str = "127.0.0.1"
    """Address to serve the metrics on with --every."""
    json: Flag = False
    """Print the result of each round as one JSON line on standard output."""
    given: Given = None


def retrain_options(args: Sequence[str]) -> RetrainOptions:
    """Parses the flags of `dqn-retrain`, whose defaults are the current champion's settings.

    Raises UsageError if a named model has no champion and no flag says what to train its first version for.
    """
    first = read_first(args)
    preset, config = preset_of(first)
    name = first.name or default_model_name(first.env_id or config.env_id)
    repository = ModelRepository(first.repository or cli_support.default_repository())
    champion = None if first.preset else _champion_settings(repository, name)
    config, preset = champion or (config, preset)
    options = parse(RetrainOptions, "dqn-retrain", args, RetrainOptions(preset=preset, config=config, name=name))
    if options.once == (options.every is not None):
        raise cli_support.UsageError("Give either --once or --every INTERVAL, such as --every 15m.")
    if options.every is not None:
        seconds(options.every)
    if champion is None and first.name and first.preset is None and first.env_id is None:
        raise cli_support.UsageError(
            f"{repository.root} has no champion of {name}. To train a first version, give --env-id or --preset."
        )
    return dataclasses.replace(options, preset=preset, given=None if champion else given_settings(args))


def _champion_settings(repository: ModelRepository, model: str) -> tuple[DQNConfig, str] | None:
    """The champion's settings (with seed 0) and preset; None if there is no champion.

    Unknown fields are ignored, missing ones get their defaults.
    """
    champion = repository.alias(model)
    if champion is None:
        return None
    training = repository.manifest(model, champion).training
    return dataclasses.replace(DQNConfig.from_json(training.config), seed=0), training.preset


@dataclasses.dataclass(frozen=True)
class TuneOptions:
    """Search for good settings for an environment, and write the best as a preset file for `dqn-train --preset`.

    A trial trains with one choice of settings, one run per seed, and is pruned if it is in the worst third from halfway
    through its first run. Its score is the mean, over the run's evaluations, of the best return so far, which rewards
    both fast learning and a good final policy. The first trial is the preset itself. The best trials (finalists) and
    the preset are then retrained with other seeds, because the best of many noisy trials is partly luck; the winner is
    written. The same command resumes an interrupted search.
    """

    preset: PresetName
    """Settings to start from: a preset's name or file. Settings outside the search keep these values."""
    config: DQNConfig
    trials: Count = 20
    """Total number of finished trials, including pruned ones and those of earlier calls."""
    timeout: str | None = None
    """Stop starting trials and end the running ones after this time, e.g. 90s, 10m or 2h; the finalists are retrained
    afterwards. Default: no limit."""
    storage: Path | None = None
    """SQLite file of the search; preset.toml and tuning.png are written next to it. Default:
    runs/tune-NAME/study.db."""
    seeds: Count = 3
    """Training runs per trial; more runs make lucky settings less likely to win."""
    first_seed: Annotated[int, Between(100)] = 100
    """Seed of the first training run of each trial; at least 100, because smaller seeds are reserved for reporting."""
    evaluations: Count = 20
    """Greedy evaluations per training run; they determine its score. Together they take at most as many steps as
    training, or --eval-fraction times as many; each plays at least one episode."""
    episodes: Count = 20
    """Episodes per evaluation, at most."""
    finalists: Annotated[int, Between(0)] = 3
    """Number of best trials to retrain with other seeds, in addition to the preset; 0: none."""
    confirm_seeds: Count = 5
    """Training runs per finalist, with the seeds after those of the trials."""
    jobs: Count = 1
    """Number of training processes that run in parallel."""
    json: Flag = False
    """Print the result as one JSON line on standard output."""
    given: Given = None


def tune_options(args: Sequence[str]) -> TuneOptions:
    """Parses the flags of `dqn-tune`."""
    preset, config = preset_of(read_first(args))
    options = parse(TuneOptions, "dqn-tune", args, TuneOptions(preset=preset, config=config))
    if options.timeout is not None:
        seconds(options.timeout, "--timeout")
    return dataclasses.replace(options, given=given_settings(args))


@dataclasses.dataclass(frozen=True)
class CompareOptions:
    """Compare runs by their metrics.csv: a plot of the learning curves and a table, with 95 % intervals.

    Runs that differ only in their seed form a group; labels group runs explicitly, as in
    `dqn-compare 'small=runs/a-*' 'large=runs/b-*'`.
    """

    runs: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[LABEL=]DIR ...")]
    """Run directories, optionally with wildcards and a label for the group."""
    metric: str = "evaluation_return"
    """Column of metrics.csv to compare."""
    statistic: Literal["mean", "iqm"] = "mean"
    """Statistic over the runs of a group: the mean, or the mean of the middle half (iqm)."""
    threshold: float | None = None
    """Also report the environment steps until the metric first reaches this value."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE.png")] = Path("comparison.png")
    """File to write the plot to."""
    json: Flag = False
    """Print the table as one JSON line on standard output."""


def compare_options(args: Sequence[str]) -> CompareOptions:
    """Parses the flags of `dqn-compare`."""
    options = parse(CompareOptions, "dqn-compare", args, None)
    if not options.runs:
        raise cli_support.UsageError("Give the directories of the runs to compare, as in dqn-compare runs/*.")
    if options.out.suffix.lower() != ".png":
        raise cli_support.UsageError(f"--out is {options.out}; the plot is a PNG file, so its name must end in .png.")
    if not options.out.parent.is_dir():
        raise cli_support.UsageError(f"--out is {options.out}, but the directory {options.out.parent} does not exist.")
    return options
