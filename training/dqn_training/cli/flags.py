"""Parsing of flags: first those that determine the defaults of the others, then all."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import tyro

from dqn_models import cli_support
from dqn_training.config import DQNConfig
from dqn_training.presets import SUFFIX, default_preset, preset_config, preset_label, preset_names
from dqn_training.ranges import outside_ranges

PresetName = Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(preset_names())}}}|FILE{SUFFIX}")]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Directory = Annotated[Path, tyro.conf.arg(metavar="DIR")]
Repository = Annotated[
    Path, tyro.conf.arg(metavar="DIR", help="Model repository; default: $DQN_REPOSITORY, else models/store.")
]
Options = TypeVar("Options")


class _Unchecked(DQNConfig):
    """Settings before validation: tyro would show a ValueError in a box and without the flag's name."""

    def __post_init__(self) -> None:
        """Accepts everything."""


_Unchecked.__doc__ = DQNConfig.__doc__  # shown by --help


Given = Annotated[frozenset[str] | None, tyro.conf.Suppress]
"""Names of the settings given by flags; None if none may be chosen automatically, as for a resumed run."""


@dataclasses.dataclass(frozen=True)
class First:
    """The flags that determine the defaults of the others."""

    preset: str | None = None
    env_id: str | None = None
    name: str | None = None
    repository: Path | None = None
    run_dir: Path | None = None
    resume: Path | None = None


def read_first(args: Sequence[str]) -> First:
    """Parses only these flags and ignores all others."""
    return tyro.cli(First, args=args, return_unknown_args=True, add_help=False)[0]


def preset_of(first: First) -> tuple[str, DQNConfig]:
    """The requested preset, or the environment's default: its label and its settings. Raises UsageError."""
    preset = first.preset or default_preset(first.env_id)
    try:
        return preset_label(preset), preset_config(preset)
    except ValueError as error:
        raise cli_support.UsageError(str(error)) from error


def given_settings(args: Sequence[str]) -> frozenset[str]:
    """The names of the settings that are given as flags."""
    flags = {argument[2:].partition("=")[0].replace("-", "_") for argument in args if argument.startswith("--")}
    names = {field.name for field in dataclasses.fields(DQNConfig)}
    return frozenset(names & (flags | {flag.removeprefix("no_") for flag in flags}))


def parse(kind: type[Options], program: str, args: Sequence[str], default: Options | None) -> Options:
    """Parses all flags; exits with status 2 for an unknown or malformed flag. Raises UsageError for invalid values."""
    start: Any = tyro.MISSING_NONPROP if default is None else _with_settings(default, _Unchecked)
    options: Options = tyro.cli(kind, prog=program, args=args, default=start, config=(tyro.conf.OmitArgPrefixes,))
    try:
        for sentence in outside_ranges(options):
            raise ValueError(sentence)
        return _with_settings(options, DQNConfig)
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        raise cli_support.UsageError(f"--{name.replace('_', '-')} {rest}") from error


def _with_settings(options: Options, kind: type[DQNConfig]) -> Options:
    """The options with their settings, if any, converted to this class."""
    config = getattr(options, "config", None)
    if config is None:
        return options
    return cast(Options, dataclasses.replace(cast(Any, options), config=kind(**vars(config))))


def seconds(interval: str, flag: str = "--every") -> float:
    """An interval such as 90s, 15m or 2h in seconds. Raises UsageError, naming the flag, for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", interval)
    if found is None or not float(found[1]):
        raise cli_support.UsageError(f"{flag} is {interval!r}; expected a number with s, m, h or d, such as 15m.")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[found[2]]
