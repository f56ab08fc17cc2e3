"""Entry points of the commands of training.

torch takes seconds to import, so that each command reads its flags first: --help and wrong usage are answered at once.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from dqn_models import cli_support
from dqn_training.cli import options
from dqn_training.cli.train_options import train_options
from dqn_training.run.interrupts import exit_on_sigterm


def train() -> None:
    """Entry point of `dqn-train`."""
    _start("train", train_options)


def evaluate() -> None:
    """Entry point of `dqn-evaluate`."""
    _start("evaluate", options.evaluate_options)


def tune() -> None:
    """Entry point of `dqn-tune`."""
    _start("tune", options.tune_options)


def compare() -> None:
    """Entry point of `dqn-compare`."""
    _start("compare", options.compare_options)


def retrain() -> None:
    """Entry point of `dqn-retrain`."""
    exit_on_sigterm()
    _start("retrain", options.retrain_options)


def _start(name: str, read: Callable[[Sequence[str]], Any]) -> None:
    """Runs a command and ends the process at once: to take torch down lasts most of a second."""

    def command() -> None:
        asked = read(sys.argv[1:])
        with cli_support.needs_extra(f"dqn-{name}", name if name == "tune" else "train"):
            module = import_module(f"dqn_training.cli.{name}")
        module.run(asked)

    status = cli_support.run(command)
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):  # the reader went away, or there never was one
        status = status or cli_support.FAILED if sys.stdout else status
    os._exit(status)
