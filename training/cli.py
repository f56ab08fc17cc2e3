"""Entry points of the commands of training.

torch takes seconds to import, so that the commands import the heavy modules once the flags are known to be right.
"""

import sys

from models import command
from training.commands.compare import compare_options, run_compare
from training.commands.evaluate import evaluate_options, run_evaluate
from training.commands.retrain import retrain_options, run_retrain
from training.commands.running import leave
from training.commands.train import run_train
from training.commands.train_options import train_options
from training.commands.tune import run_tune, tune_options
from training.interrupts import exit_on_sigterm


def train() -> None:
    """Entry point of `dqn-train`."""
    leave(command.run(lambda: run_train(train_options(sys.argv[1:]))))


def evaluate() -> None:
    """Entry point of `dqn-evaluate`."""
    leave(command.run(lambda: run_evaluate(evaluate_options(sys.argv[1:]))))


def tune() -> None:
    """Entry point of `dqn-tune`."""
    leave(command.run(lambda: run_tune(tune_options(sys.argv[1:]))))


def compare() -> None:
    """Entry point of `dqn-compare`."""
    leave(command.run(lambda: run_compare(compare_options(sys.argv[1:]))))


def retrain() -> None:
    """Entry point of `dqn-retrain`."""
    exit_on_sigterm()
    leave(command.run(lambda: run_retrain(retrain_options(sys.argv[1:]))))
