"""The flags of `dqn-evaluate`, `dqn-retrain`, `dqn-tune` and `dqn-compare`; reading them imports no learning stack."""

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
    """Play episodes with a published policy: the ONNX file, greedily, as it is served."""

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL[@VERSION]")]
    """Model, with a version number or an alias; by default the champion."""
    episodes: Count = 100
    """Number of episodes."""
    seed: Annotated[int | None, Between(0)] = None
    """First environment seed, one for each episode; by default that of the manifest's own evaluation."""
    eval_envs: Annotated[int | None, Between(1)] = None
    """Environments that play at once; by default those of the version's training. 1: in a process of its own."""
    env_kwargs: JsonObject | None = None
    """Arguments of the environment's constructor; by default those of the manifest."""
    repository: Repository = dataclasses.field(default_factory=cli_support.default_repository)
    video: Annotated[Path | None, tyro.conf.arg(metavar="FILE.mp4|FILE.gif")] = None
    """Also film episodes, starting at the same seed; needs the extra video."""
    video_episodes: Count = 1
    """Number of episodes to film with --video."""
    json: Flag = False
    """Print the result with every return as one JSON line on standard output."""


def evaluate_options(args: Sequence[str]) -> EvaluateOptions:
    """Reads the flags of `dqn-evaluate`."""
    return parse(EvaluateOptions, "dqn-evaluate", args, None)


@dataclasses.dataclass(frozen=True)
class RetrainOptions:
    """Train a challenger for the champion of a model and let the gate decide which of them is served.

    Settings not given here are those that the champion has when a round begins. Where there is no champion, the first
    round trains one; with --name it needs --env-id or --preset, too. One job at a time for each model.
    """

    preset: PresetName
    """Settings to start from, by name or in a file as dqn-tune writes it; by default the champion's own."""
    config: DQNConfig
    once: Flag = False
    """Do one round and end; for cron."""
    every: str | None = None
    """Start a round this often, such as 90s, 15m or 2h, until stopped."""
    start: Literal["warm", "scratch", "both"] = "warm"
    """Start from the champion's weights, from scratch, or do both and take the better challenger."""
    name: str = ""
    """Name of the model; by default the environment's, such as cartpole."""
    repository: Repository = dataclasses.field(default_factory=cli_support.default_repository)
    gate: Rule = "non-inferior"
    """Rule for taking the champion's place with 95 % confidence: better, or at most a little worse: by 1 % of the
    champion's mean return or by 0.2 of its standard deviation, whichever is larger."""
    metrics_port: Annotated[int, Between(0, 65535)] = 8001
    """Port of the job's own Prometheus metrics with --every; 0 for none."""
    metrics_host: str = "127.0.0.1"
    """Address that the metrics are served on with --every."""
    json: Flag = False
    """Print the result of each round as one JSON line on standard output."""
    given: Given = None


def retrain_options(args: Sequence[str]) -> RetrainOptions:
    """Reads the flags of `dqn-retrain`, whose defaults are the settings that the champion has at the moment.

    Raises UsageError where a named model has no champion and no flag says what to train its first version for.
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
            f"{repository.root} has no champion of {name}. To train a first version, name its --env-id or --preset."
        )
    return dataclasses.replace(options, preset=preset, given=None if champion else given_settings(args))


def _champion_settings(repository: ModelRepository, model: str) -> tuple[DQNConfig, str] | None:
    """The settings (but for the seed) and preset of the champion; None where there is no champion.

    Fields that this release does not know are left out, missing ones have their defaults.
    """
    champion = repository.alias(model)
    if champion is None:
        return None
    training = repository.manifest(model, champion).training
    return dataclasses.replace(DQNConfig.from_json(training.config), seed=0), training.preset


@dataclasses.dataclass(frozen=True)
class TuneOptions:
    """Search settings for an environment, and write the best as a preset file for `dqn-train --preset`.

    A trial trains with some settings, a run for each seed, and is pruned when it is among the worst third from the
    middle of the first run on. Its score is the mean over the run of the best evaluation so far: it must become good
    early and end good. The first trial is the preset itself. The best trials, the finalists, and the preset then train
    again with other seeds, because the best of many noisy trials is partly luck; the best of them is written. The same
    command resumes an interrupted search.
    """

    preset: PresetName
    """Settings to start from, by name or in a file; those that the search does not vary stay."""
    config: DQNConfig
    trials: Count = 20
    """Total number of finished trials, including those of earlier calls and pruned ones."""
    timeout: str | None = None
    """Time after which no trial begins and the running one ends, such as 90s, 10m or 2h; by default none. The finalists
    train after it."""
    storage: Path | None = None
    """SQLite file of the search; preset.toml and tuning.png are written beside it. Default: runs/tune-NAME/study.db."""
    seeds: Count = 3
    """Training runs per trial; more make lucky settings less likely to win."""
    first_seed: Annotated[int, Between(100)] = 100
    """Seed of the first training run of each trial; at least 100, as smaller seeds are for reporting."""
    evaluations: Count = 20
    """Greedy evaluations per training run, which make its score. They take as many steps as training at most, or
    --eval-fraction; each plays at least one episode."""
    episodes: Count = 20
    """Episodes per evaluation, at most."""
    finalists: Annotated[int, Between(0)] = 3
    """Best trials to retrain with other seeds, in addition to the default; 0 for none."""
    confirm_seeds: Count = 5
    """Training runs per finalist, with the seeds that follow those of the trials."""
    jobs: Count = 1
    """Number of training processes."""
    json: Flag = False
    """Print the result as one JSON line on standard output."""
    given: Given = None


def tune_options(args: Sequence[str]) -> TuneOptions:
    """Reads the flags of `dqn-tune`."""
    preset, config = preset_of(read_first(args))
    options = parse(TuneOptions, "dqn-tune", args, TuneOptions(preset=preset, config=config))
    if options.timeout is not None:
        seconds(options.timeout, "--timeout")
    return dataclasses.replace(options, given=given_settings(args))


@dataclasses.dataclass(frozen=True)
class CompareOptions:
    """Compare runs by their metrics.csv: a picture of the learning curves and a table, with 95 % intervals.

    Runs that differ only in their seed are a group; `dqn-compare 'small=runs/a-*' 'large=runs/b-*'` groups by hand.
    """

    runs: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[LABEL=]DIR ...")]
    """Directories of runs, with or without wildcards and a label for the group."""
    metric: str = "evaluation_return"
    """Column of metrics.csv to compare."""
    statistic: Literal["mean", "iqm"] = "mean"
    """Statistic over the runs of a group: the mean, or the mean of the middle half (iqm)."""
    threshold: float | None = None
    """Also report the environment steps until the metric first reaches this value."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE.png")] = Path("comparison.png")
    """File for the picture."""
    json: Flag = False
    """Print the table as one JSON line on standard output."""


def compare_options(args: Sequence[str]) -> CompareOptions:
    """Reads the flags of `dqn-compare`."""
    options = parse(CompareOptions, "dqn-compare", args, None)
    if not options.runs:
        raise cli_support.UsageError("Name the directories of the runs to compare, such as dqn-compare runs/*.")
    if options.out.suffix.lower() != ".png":
        raise cli_support.UsageError(
            f"--out is {options.out}; the picture is a PNG, so that its name must end in .png."
        )
    if not options.out.parent.is_dir():
        raise cli_support.UsageError(f"--out is {options.out}, but there is no directory {options.out.parent}.")
    return options
