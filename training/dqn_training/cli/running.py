"""What the commands of training share while they run."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

from dqn_models import cli_support


def leave(status: int) -> NoReturn:
    """Ends the process at once: to take torch down lasts most of a second, which Ctrl-C should not wait for."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(status)


def see_working_directory() -> None:
    """Lets `--env-id module:Name-v0` find a module in the working directory, as `python -m` would."""
    if "" not in sys.path:
        sys.path.insert(0, "")


@contextlib.contextmanager
def needs_extra(what: str, extra: str) -> Iterator[None]:
    """Makes an import that fails in the block a wrong usage: `what` was asked for needs the extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise cli_support.UsageError(cli_support.missing_extra(what, extra, str(error.name))) from error


@contextlib.contextmanager
def wrong_usage() -> Iterator[None]:
    """Makes a ValueError, which names a setting and its value, a wrong usage; a fault of the environment is none."""
    from dqn_training.envs.checks import FaultyEnvironmentError  # noqa: PLC0415

    try:
        yield
    except FaultyEnvironmentError:
        raise
    except ValueError as error:
        raise cli_support.UsageError(str(error)) from error
