"""How flags are read: first those that decide the defaults of the others, then all."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

import tyro

from dqn_models import cli_support
from dqn_training.config import DQNConfig, outside_ranges
from dqn_training.presets import SUFFIX, default_preset, preset_config, preset_label, preset_names

PresetName = Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(preset_names())}}}|FILE{SUFFIX}")]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Directory = Annotated[Path, tyro.conf.arg(metavar="DIR")]
Options = TypeVar("Options")


class First(NamedTuple):
    """The flags that decide the defaults of the others."""

    preset: str | None
    env_id: str | None
    name: str | None
    repository: str | None
    run_dir: str | None
    resume: str | None


def read_first(args: Sequence[str]) -> First:
    """Reads only these flags and ignores all others."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for flag in ("--preset", "--env-id", "--name", "--repository", "--run-dir", "--resume"):
        parser.add_argument(flag, nargs="?")
    known = parser.parse_known_args([argument.replace("_", "-", argument.startswith("--")) for argument in args])[0]
    return First(**vars(known))


def preset_of(first: First) -> tuple[str, DQNConfig]:
    """The preset asked for, or the environment's: what a manifest calls it, and its settings. Raises UsageError."""
    preset = first.preset or default_preset(first.env_id)
    try:
        return preset_label(preset), preset_config(preset)
    except ValueError as error:
        raise cli_support.UsageError(str(error)) from error


def parse(kind: type[Options], program: str, args: Sequence[str], default: Options | None) -> Options:
    """Reads all flags; exits with status 2 and a sentence for a wrong one; UsageError for a number out of range."""
    default_or_missing = tyro.MISSING_NONPROP if default is None else default
    options = tyro.cli(kind, prog=program, args=args, default=default_or_missing, config=(tyro.conf.OmitArgPrefixes,))
    for sentence in outside_ranges(options):
        name, _, rest = sentence.partition(" ")
        raise cli_support.UsageError(f"--{name.replace('_', '-')} {rest}")
    return options


def seconds(interval: str, flag: str = "--every") -> float:
    """An interval such as 90s, 15m or 2h in seconds. Raises UsageError, which names the flag, for anything else."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    number, unit = interval[:-1], interval[-1:]
    try:
        value = float(number) * units[unit]
    except (KeyError, ValueError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise cli_support.UsageError(f"{flag} is {interval!r}; expected a number with s, m, h or d, such as 15m.")
    return value
