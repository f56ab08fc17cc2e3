"""Standard streams of the training commands: standard output has only results, and a lost line costs only itself."""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.commands import BIN, free_port, result
from dqn_testing.server import wait_until
from dqn_testing.trained import Trained
from dqn_training.presets import preset_config
from dqn_training.tracking.metrics_csv import read_metrics

pytestmark = pytest.mark.slow

LOUD = """
import ctypes, gymnasium, numpy
print("imported")
class Loud(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (1,), numpy.float32)
    action_space = gymnasium.spaces.Discrete(2)
    def __init__(self, render_mode=None): pass
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        print("reset", flush=True)
        ctypes.CDLL(None).write(1, b"from C\\n", 7)
        self.steps = 0
        return numpy.zeros(1, numpy.float32), {}
    def step(self, action):
        print("step")
        self.steps += 1
        return numpy.zeros(1, numpy.float32), float(action), self.steps == 5, False, {}
gymnasium.register("Loud-v0", entry_point=Loud)
"""
SMALL = ["--env-id", "loud:Loud-v0", "--total-env-steps=400", "--learning-starts=100", "--num-envs=2"]
BRIEF = ["--eval-every=200", "--eval-episodes=2", "--report-episodes=3", "--gate-episodes=3", "--vectorization=async"]
DEAD = ["2>&-", "0<&- >&- 2>&-", "2>/dev/full", "2> >(exec 0<&-)"]
NO_STREAMS, FULL_DISK = DEAD[1:3]


def long(redirection: str) -> Any:
    """A redirection that `make test` tries with another command: all commands protect their streams in the same way."""
    return pytest.param(redirection, marks=pytest.mark.long)


def test_what_an_environment_prints_does_not_reach_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command with --json writes one line to standard output, whatever Python, C or a child process prints."""
    (tmp_path / "loud.py").write_text(LOUD)
    monkeypatch.chdir(tmp_path)
    at = ["--repository", tmp_path / "store"]
    result("dqn-train", *at, *SMALL, *BRIEF)
    result("dqn-evaluate", "loud", *at, "--episodes=2")
    result("dqn-retrain", "--once", "--env-id=loud:Loud-v0", *at)
    search = ["--seeds=1", "--trials=2", "--evaluations=2", "--episodes=2", "--finalists=1", "--confirm-seeds=1"]
    result("dqn-tune", *SMALL, *search, "--storage", tmp_path / "study.db")


@pytest.mark.parametrize("redirection", DEAD)
def test_a_progress_line_that_cannot_be_written_costs_only_that_line(tmp_path: Path, redirection: str) -> None:
    """With closed streams, a full disk or no reader the run still publishes, and no file gets a stray line."""
    flags = ["--total-env-steps=1500", "--eval-every=300", "--eval-episodes=5", "--report-episodes=20"]
    words = [str(BIN / "dqn-train"), "--repository", "store", "--run-dir", "run", "--checkpoint-seconds=0.01", *flags]
    shell = ["bash", "-c", f"{shlex.join(words)} {redirection}"]
    done = subprocess.run(shell, cwd=tmp_path, timeout=120, check=False, capture_output=True)
    assert done.returncode == 0
    ModelRepository(tmp_path / "store").verify("cartpole", 1)
    assert (read_metrics(tmp_path / "run" / "metrics.csv")["evaluations"] >= 1).any()


@pytest.mark.parametrize("redirection", [long(NO_STREAMS), FULL_DISK])
def test_a_search_survives_a_line_that_cannot_be_written(tmp_path: Path, redirection: str) -> None:
    """With closed streams or a full disk the search still ends with its preset."""
    flags = ["--total-env-steps=300", "--learning-starts=100", "--trials=2", "--seeds=1", "--evaluations=2"]
    flags += ["--episodes=2", "--finalists=1", "--confirm-seeds=1", "--storage=search/study.db"]
    shell = ["bash", "-c", f"{shlex.join([str(BIN / 'dqn-tune'), *flags])} {redirection}"]
    done = subprocess.run(shell, cwd=tmp_path, timeout=120, check=False, capture_output=True)
    assert done.returncode == 0
    assert preset_config(str(tmp_path / "search/preset.toml")).env_id == "CartPole-v1"


@pytest.mark.parametrize("redirection", [DEAD[0], long(NO_STREAMS), long(FULL_DISK), DEAD[3]])
def test_the_retraining_loop_survives_a_log_that_cannot_be_written(
    tmp_path: Path, trained: Trained, redirection: str
) -> None:
    """The loop continues from round to round, and counts the lost lines."""
    trained.copy(tmp_path / "store")
    port = free_port()
    flags = ["--total-env-steps=600", "--learning-starts=100", "--eval-every=300", "--eval-episodes=2", "--json"]
    words = [str(BIN / "dqn-retrain"), "--every=0.1s", f"--metrics-port={port}", "--repository", "store", *flags]
    shell = ["bash", "-c", f"exec {shlex.join(words)} > >(exec 0<&-) {redirection}"]
    process = subprocess.Popen(shell, cwd=tmp_path, env=os.environ | {"DQN_RUNS": str(tmp_path / "runs")})

    def count(name: str) -> float:
        try:
            lines = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
        except httpx.TransportError:
            return 0.0
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    try:
        wait_until(lambda: count("dqn_retrain_runs_total") >= 2, 60, "two rounds")
        wait_until(lambda: count("dqn_retrain_lost_log_writes_total") >= 2, 10, "lost lines")
        assert count('dqn_retrain_runs_total{model="cartpole",outcome="failed"}') == 0
    finally:
        process.terminate()
        assert process.wait(20) == 0
