"""Entry points of the training commands.

Importing torch takes seconds, so each command parses its flags first: --help and usage errors appear at once.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from dqn_models import cli_support
from dqn_training.cli import options
from dqn_training.cli.train_options import train_options
from dqn_training.interrupts import deferred_interrupts

_TERMINATED = 128 + signal.SIGTERM  # as a shell reports a process that SIGTERM ended


def _start(name: str, read: Callable[[Sequence[str]], Any]) -> None:
    """Runs a command and exits with os._exit, because tearing torch down takes most of a second."""
    # Huge pages for large tensors, read by torch at its first allocation: saves 7 % of a run with images.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

    def command() -> None:
        # `finally` blocks run and close the environments; otherwise their simulators would outlive the process.
        signal.signal(signal.SIGTERM, end)
        asked = read(sys.argv[1:])
        # An exception raised by a signal during the import of a C++ extension would abort the process.
        with deferred_interrupts(), cli_support.needs_extra(f"dqn-{name}", name if name == "tune" else "train"):
            module = import_module(f"dqn_training.cli.{name}")
        if "" not in sys.path:  # so that `--env-id module:Name-v0` finds a module here, as `python -m` would
            sys.path.insert(0, "")
        module.run(asked)

    ended = False

    def end(*_: object) -> None:
        nonlocal ended
        ended = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends it at once
        if name == "retrain":  # SIGTERM is how its loop ends
            sys.exit(cli_support.DONE)
        raise KeyboardInterrupt

    status = cli_support.run(command)
    if ended and status == cli_support.INTERRUPTED:
        status = _TERMINATED
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):  # the reader has exited, or there never was one
        status = status or cli_support.FAILED if sys.stdout else status
    os._exit(status)


train = partial(_start, "train", train_options)
evaluate = partial(_start, "evaluate", options.evaluate_options)
tune = partial(_start, "tune", options.tune_options)
compare = partial(_start, "compare", options.compare_options)
retrain = partial(_start, "retrain", options.retrain_options)
