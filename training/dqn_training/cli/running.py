"""What the commands of training share while they run."""

import contextlib
import sys
from collections.abc import Iterator

from dqn_models import cli_support
from dqn_training.envs.checks import FaultyEnvironmentError


def see_working_directory() -> None:
    """Lets `--env-id module:Name-v0` find a module in the working directory, as `python -m` would."""
    if "" not in sys.path:
        sys.path.insert(0, "")


@contextlib.contextmanager
def wrong_usage() -> Iterator[None]:
    """Makes a ValueError, which names a setting and its value, a wrong usage; a fault of the environment is none."""
    try:
        yield
    except FaultyEnvironmentError:
        raise
    except ValueError as error:
        raise cli_support.UsageError(str(error)) from error
