"""What all commands share: exit statuses, failures as one clear sentence, and the default repository."""

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dqn_models import streams
from dqn_models.errors import ModelError
from dqn_models.layout import DEFAULT_REPOSITORY

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


class UsageError(ValueError):
    """The command line is wrong or asks for something impossible: the command exits with status 2."""


def default_repository() -> Path:
    """The repository used without `--repository`: $DQN_REPOSITORY, else models/store."""
    return Path(os.environ.get("DQN_REPOSITORY") or DEFAULT_REPOSITORY)


def run(command: Callable[[], None]) -> int:
    """Runs a command and returns its exit status; failures are one sentence on standard error, never a traceback."""
    with streams.protected():
        return _run(command)


def _run(command: Callable[[], None]) -> int:
    try:
        command()
    except KeyboardInterrupt as interrupt:
        return fail(str(interrupt) or "Interrupted.", INTERRUPTED)
    except UsageError as error:
        return fail(str(error), WRONG_USAGE)
    except BrokenPipeError:  # the reader of our output has exited, as `head` does
        sys.stdout = None  # leave nothing to flush at exit
        return FAILED
    except (ModelError, ValueError, OSError) as error:
        return fail(str(error), FAILED)
    except Exception as error:  # noqa: BLE001  (the outermost handler: a command never ends in a traceback)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        return fail(f"Unexpected {type(error).__name__} at {place}: {error}. Please report it.", FAILED)
    return DONE


def missing_extra(what: str, extra: str, package: str) -> str:
    """The error message for `what`, which needs an extra whose `package` is missing."""
    return (
        f"{what} needs the extra '{extra}', whose package {package} is not installed: "
        f"pip install 'dqn-policy-server[{extra}]'."
    )


@contextlib.contextmanager
def needs_extra(what: str, extra: str) -> Iterator[None]:
    """Converts a failed import within the block to UsageError: `what` needs the extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(missing_extra(what, extra, str(error.name))) from error


def print_json(result: Any) -> None:
    """Prints the command's one machine-readable line on standard output."""
    print(json.dumps(result, allow_nan=False), flush=True)


def fail(sentence: str, status: int) -> int:
    """Prints an error to standard error and returns the exit status."""
    if sys.stderr is not None:
        print(f"error: {sentence}" if status != INTERRUPTED else sentence, file=sys.stderr, flush=True)
    return status
