"""Fixtures for all tests."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dqn_testing.forkserver import forked_commands
from dqn_testing.trained import Trained, train_once


@pytest.fixture(scope="session", autouse=True)
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of runs for training commands that tests start without --run-dir."""
    folder = tmp_path_factory.mktemp("runs")
    os.environ["DQN_RUNS"] = str(folder)
    yield folder
    del os.environ["DQN_RUNS"]


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Commands that tests start react to Ctrl-C, even if a background shell that runs the tests ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def forks(runs: Path, interruptible: None) -> Iterator[None]:  # noqa: ARG001  (what forks must inherit)
    """Makes commands start almost instantly."""
    with forked_commands():
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A CartPole policy, trained in seconds, once for all tests."""
    base = tmp_path_factory.getbasetemp()
    return train_once(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)
