"""SIGTERM ends a command as Ctrl-C does: its environments are closed, which ends what they have started."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dqn_testing.commands import start
from dqn_testing.server import wait_until

pytestmark = pytest.mark.slow

ENGINE = ["--env-id", "tests.training.engine_environments:Engine-v0"]
FLAGS = ["--total-env-steps=1000000", "--learning-starts=100", "--hidden-sizes=8", "--eval-every=200", "--num-envs=2"]
NEVER_EVALUATED = ["--eval-every=1000000"]
FLAGS += ["--eval-fraction=1000000", "--episode-step-limit=1000000000"]  # the first evaluation has no end


def alive(engine: Path) -> bool:
    """Whether the process of an engine still runs."""
    return Path("/proc", engine.name.partition(".")[0]).exists()


def has_trained(folder: Path) -> bool:
    """Whether the run there has a first row of figures."""
    metrics = folder / "run" / "metrics.csv"
    return metrics.exists() and len(metrics.read_text().splitlines()) > 1


@pytest.mark.parametrize("whole_group", [False, True], ids=["process", "group"])
@pytest.mark.parametrize(
    ("flags", "reached"),
    [
        (["--vectorization=sync", *NEVER_EVALUATED], has_trained),
        (["--vectorization=async", *NEVER_EVALUATED], has_trained),
        (["--vectorization=sync", "--eval-envs=8"], lambda folder: len(list(folder.glob("engines/*"))) >= 15),
        (["--vectorization=async", "--eval-envs=1"], lambda folder: any(folder.glob("engines/*.evaluation"))),
    ],
    ids=["training", "training-in-processes", "evaluating", "evaluating-in-a-process"],
)
def test_environments_are_closed(
    tmp_path: Path, flags: list[str], reached: Callable[[Path], bool], *, whole_group: bool
) -> None:
    """Whether SIGTERM comes to the command alone or to all its processes, and while it trains or evaluates."""
    engines, store = tmp_path / "engines", ["--repository", tmp_path / "store", "--run-dir", tmp_path / "run"]
    engines.mkdir()
    kwargs = ["--env-kwargs", f'{{"folder": "{engines}"}}']
    options: dict[str, Any] = {"is_fresh": True, "start_new_session": True} if whole_group else {}
    with start("dqn-train", *ENGINE, *kwargs, *FLAGS, *flags, *store, **options) as process:
        try:
            wait_until(lambda: reached(tmp_path), 60, "there")
            (os.killpg if whole_group else os.kill)(process.pid, signal.SIGTERM)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert errors.splitlines()[-1].startswith("Interrupted")
    assert "Traceback" not in errors
    assert [each.name for each in engines.iterdir() if alive(each)] == []
