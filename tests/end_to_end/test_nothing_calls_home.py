"""Every command under observation: the names it looks up, the addresses it connects to, and what it leaves at home."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.commands import run
from dqn_testing.preload import compiled
from dqn_testing.repositories import publish_linear
from dqn_testing.server import running_server

pytestmark = pytest.mark.slow

BUDGET = ["--total-env-steps", 400, "--learning-starts", 100, "--eval-episodes", 2, "--hidden-sizes", 8]
QUICK = [*BUDGET, "--eval-every", 200, "--report-episodes", 2, "--gate-episodes", 2]
SEARCH = ["--trials", 1, "--seeds", 1, "--evaluations", 1, "--episodes", 2, "--finalists", 0]
FONTS = {".cache/matplotlib", ".config/matplotlib"}  # Matplotlib lists the machine's fonts once


class Watched:
    """A home directory, and what processes have looked up."""

    def __init__(self, home: Path, lookups: Path) -> None:
        """Neither needs to exist yet."""
        self.home, self._lookups = home, lookups
        home.mkdir()

    def lookups(self) -> list[str]:
        """Names and addresses outside this machine, in order."""
        return self._lookups.read_text().splitlines() if self._lookups.exists() else []

    def left_at_home(self) -> list[str]:
        """Files in the home directory, without Matplotlib's list of fonts."""
        files = [path.relative_to(self.home) for path in self.home.rglob("*") if path.is_file()]
        return [str(path) for path in files if str(Path(*path.parts[:2])) not in FONTS]


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Everything started from here on is watched, in an empty working directory."""
    shim = compiled("watch_lookups.c", tmp_path)
    watched = Watched(tmp_path / "home", tmp_path / "lookups")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name in [name for name in os.environ if name.startswith(("DQN_", "XDG_", "ORT_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(watched.home))
    monkeypatch.setenv("LOOKUPS", str(tmp_path / "lookups"))
    monkeypatch.setenv("LD_PRELOAD", str(shim))
    return watched


def test_a_process_that_calls_home_is_noticed(watched: Watched) -> None:
    """A name look-up is noticed, and so is a connection to an address without one."""
    program = """
import contextlib, socket, sys
for host in sys.argv[1:]:
    with contextlib.suppress(OSError):
        socket.create_connection((host, 80))
"""
    subprocess.run([sys.executable, "-c", program, "home.example", "192.0.2.1", "127.0.0.1"], check=True)
    assert watched.lookups() == ["getaddrinfo home.example", "connect 192.0.2.1"]


def test_no_command_calls_home_or_leaves_files_there(watched: Watched) -> None:
    """Each command of training and of the repository looks up no name and writes nothing into the home directory."""
    for command in (
        ["dqn-train", *QUICK, "--tensorboard", "--mlflow", "sqlite:///mlflow.db"],
        ["dqn-retrain", "--once", *QUICK],
        ["dqn-evaluate", "cartpole", "--episodes", 2, "--video", "play.gif"],
        ["dqn-tune", "--env-id", "CartPole-v1", *BUDGET, *SEARCH],
        ["dqn-compare", "all=runs/cartpole-*"],
        ["dqn-models", "verify"],
    ):
        done = run(*map(str, command))
        assert done.returncode == 0, (command, done.stderr)
        assert (watched.lookups(), watched.left_at_home()) == ([], []), command


@pytest.mark.parametrize("workers", [1, 2])
def test_the_server_does_not_call_home_or_leave_files_there(watched: Watched, workers: int) -> None:
    """While it serves, refreshes and ends, the server looks up no name and writes nothing into the home directory."""
    repository = ModelRepository("models/store")
    publish_linear(repository, promote=True)
    with running_server(repository, workers=workers) as server:
        server.wait_ready()
        assert server.post("/act", {"observation": [0, 0, 1, 0]}).json()["action"] == 1
        publish_linear(repository, bias=1.0, promote=True)
        server.wait_log("refreshed", version=2)
        assert server.stop() == 0
    assert watched.lookups() == []
    assert watched.left_at_home() == []


def test_the_policy_as_a_library_does_not_call_home(watched: Watched) -> None:
    """A program that loads a policy through `dqn_models` sends no telemetry, either."""
    publish_linear(ModelRepository("store"), promote=True)
    program = "from dqn_models.reader import RepositoryReader as R; R('store').load_policy('cartpole', 1)"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert watched.lookups() == []
    assert watched.left_at_home() == []
