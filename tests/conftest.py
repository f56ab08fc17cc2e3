"""What holds for every test."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dqn_testing.forkserver import forked_commands
from dqn_testing.trained import Trained, train_once


@pytest.fixture(scope="session", autouse=True)
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the training commands that tests start keep their runs, unless they say otherwise."""
    folder = tmp_path_factory.mktemp("runs")
    os.environ["DQN_RUNS"] = str(folder)
    yield folder
    del os.environ["DQN_RUNS"]


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """The commands that tests start heed Ctrl-C, though a shell that runs the tests in the background ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def forks(runs: Path, interruptible: None) -> Iterator[None]:  # noqa: ARG001  (what forks must inherit)
    """Commands start in no time."""
    with forked_commands():
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A policy of CartPole that took seconds to train, once for all tests."""
    base = tmp_path_factory.getbasetemp()
    return train_once(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)
