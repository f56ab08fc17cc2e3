"""Entry points of the commands of training.

torch takes seconds to import, so that the commands import the heavy modules once the flags are known to be right.
"""

import sys

from dqn_models import cli_support
from dqn_training.cli.compare import compare_options, run_compare
from dqn_training.cli.evaluate import evaluate_options, run_evaluate
from dqn_training.cli.retrain import retrain_options, run_retrain
from dqn_training.cli.running import leave
from dqn_training.cli.train import run_train
from dqn_training.cli.train_options import train_options
from dqn_training.cli.tune import run_tune, tune_options
from dqn_training.run.interrupts import exit_on_sigterm


def train() -> None:
    """Entry point of `dqn-train`."""
    leave(cli_support.run(lambda: run_train(train_options(sys.argv[1:]))))


def evaluate() -> None:
    """Entry point of `dqn-evaluate`."""
    leave(cli_support.run(lambda: run_evaluate(evaluate_options(sys.argv[1:]))))


def tune() -> None:
    """Entry point of `dqn-tune`."""
    leave(cli_support.run(lambda: run_tune(tune_options(sys.argv[1:]))))


def compare() -> None:
    """Entry point of `dqn-compare`."""
    leave(cli_support.run(lambda: run_compare(compare_options(sys.argv[1:]))))


def retrain() -> None:
    """Entry point of `dqn-retrain`."""
    exit_on_sigterm()
    leave(cli_support.run(lambda: run_retrain(retrain_options(sys.argv[1:]))))
