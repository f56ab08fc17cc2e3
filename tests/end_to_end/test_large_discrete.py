"""Discrete observations of a large range take memory for the weights of their first layer, not for one-hot rows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dqn_testing.commands import BIN, result
from dqn_testing.server import Server, running_server

pytestmark = pytest.mark.slow
HIDDEN = 16
MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""
"""A separate process, since the peak memory of a child starts at its parent's, which has torch loaded in a test."""


def flags(repository: Path, n: int) -> list[Any]:
    """Flags for a hundred steps of training on Discrete(n)."""
    kwargs = json.dumps({"space": "discrete", "n": n, "start": 100_000})
    return [
        *("--env-id", "tests.training.environments:Countdown-v0", "--env-kwargs", kwargs),
        *("--repository", repository, "--name", "many", "--run-dir", repository / f"run-{n}"),
        *("--total-env-steps", 100, "--eval-every", 100, "--learning-starts", 50, "--hidden-sizes", HIDDEN),
        *("--eval-episodes", 5, "--report-episodes", 5, "--gate-episodes", 5),
    ]


def test_training_takes_memory_in_proportion_to_the_parameters(tmp_path: Path) -> None:
    """From Discrete(1000) to Discrete(300000) the peak of the whole command rises by less than 20 times the weights."""
    peaks = []
    for n in (1_000, 300_000):
        command = map(str, [BIN / "dqn-train", *flags(tmp_path / str(n), n)])
        done = subprocess.run([sys.executable, "-c", MEASURE, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 20 * 4 * HIDDEN * 300_000


def test_a_large_batch_of_integers_leaves_the_servers_memory_where_it_was(tmp_path: Path) -> None:
    """4,096 integers of Discrete(20000), 328 MB as one-hot rows, raise the server's peak memory by less than 100 MB."""
    result("dqn-train", *flags(tmp_path, 20_000))
    with running_server(tmp_path) as server:
        server.wait_ready()
        before = peak(server)
        answer = server.post("/act", {"observations": list(range(100_000, 104_096))})
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["actions"]) == 4_096
        assert peak(server) - before < 100_000_000


def peak(server: Server) -> int:
    """The peak resident memory of the server's process, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])
