"""What holds for every test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the training commands that tests start keep their runs, unless they say otherwise."""
    folder = tmp_path_factory.mktemp("runs")
    os.environ["DQN_RUNS"] = str(folder)
    yield folder
    del os.environ["DQN_RUNS"]
