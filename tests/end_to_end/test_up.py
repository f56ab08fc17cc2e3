"""`scripts/up.py`, which is `make up`, with the real commands."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.commands import free_port
from dqn_testing.repositories import publish_linear
from dqn_testing.server import wait_until

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "scripts/up.py"
TINY = ["--total-env-steps", "600", "--learning-starts", "200", "--eval-every", "300", "--eval-episodes", "2"]
TINY += ["--report-episodes", "2", "--gate-episodes", "2"]


class Up:
    """The running script: its output and its child processes."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        """Takes over a process whose standard output is a pipe."""
        assert process.stdout
        self.process, self.port = process, port
        self._output = process.stdout
        self._watchdog = threading.Timer(120, process.kill)  # a test that hangs fails instead
        self._watchdog.daemon = True
        self._watchdog.start()

    def wait_for_line(self, text: str) -> str:
        """Waits for a line that contains `text` and returns it."""
        for line in self._output:
            if text in line:
                return line
        pytest.fail(f"{text!r} was not printed")

    def children(self) -> dict[str, int]:
        """Process ids of the commands that the script started, by name."""
        pids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        found = {}
        for pid in pids:
            command = Path(f"/proc/{pid}/cmdline")
            wait_until(lambda command=command: b"dqn-" in command.read_bytes(), 20, "started")  # type: ignore[misc]
            found[Path(command.read_text().split("\0")[1]).name] = int(pid)
        return found

    def end(self) -> tuple[int, str]:
        """Waits for the script to exit: its status and the rest of its output."""
        rest = self._output.read()
        status = self.process.wait()
        self._watchdog.cancel()
        return status, rest


@contextlib.contextmanager
def up(store: Path, *arguments: str) -> Iterator[Up]:
    """Starts the script on a free port."""
    port = free_port()
    environment = os.environ | {"DQN_REPOSITORY": str(store), "PORT": str(port), "EVERY": "1h", "METRICS_PORT": "0"}
    command = [sys.executable, str(SCRIPT), *arguments]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield Up(process, port)
        finally:
            if process.poll() is None:
                process.terminate()


def alive(pid: int) -> bool:
    """Whether the process exists."""
    return Path(f"/proc/{pid}").exists()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A repository with a champion."""
    publish_linear(ModelRepository(tmp_path), promote=True)
    return tmp_path


def test_on_a_fresh_machine_a_policy_is_trained_and_served(tmp_path: Path) -> None:
    """With an empty repository a policy is trained, and the curl command that is printed gets an answer."""
    with up(tmp_path / "store", *TINY) as running:
        running.wait_for_line("There is no cartpole yet: training one.")
        curl = running.wait_for_line("curl -s")
        body = curl.partition("-d '")[2].rstrip().removesuffix("'")
        answer = httpx.post(f"http://127.0.0.1:{running.port}/act", content=body).json()
        assert answer["action"] in (0, 1)
        assert (answer["model"], answer["version"]) == ("cartpole", 1)
        running.process.send_signal(signal.SIGINT)
        assert running.end()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.long)])
def test_one_signal_stops_both(store: Path, number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and a closed terminal stop the server and the job, with status 0."""
    with up(store) as running:
        running.wait_for_line("curl -s")
        children = running.children()
        assert set(children) == {"dqn-serve", "dqn-retrain"}
        running.process.send_signal(number)
        status, said = running.end()
    assert status == 0, said
    assert "Stopping the server and the retraining job" in said
    assert not any(alive(pid) for pid in children.values())


@pytest.mark.parametrize(("name", "called"), [("dqn-serve", "server"), ("dqn-retrain", "retraining job")])
def test_when_one_dies_the_other_is_stopped_too(store: Path, name: str, called: str) -> None:
    """A server or job that dies is reported in one sentence, nothing is left running, and the status is 1."""
    with up(store) as running:
        running.wait_for_line("curl -s")
        children = running.children()
        os.kill(children[name], signal.SIGKILL)
        status, said = running.end()
    assert status == 1
    assert f"error: The {called} exited by itself; see its log above." in said
    assert "Traceback" not in said
    assert not any(alive(pid) for pid in children.values())


def test_after_failed_training_nothing_is_served(tmp_path: Path) -> None:
    """If the first training run is refused, the reason is shown and nothing is started."""
    with up(tmp_path / "store", "--gamma", "1.5") as running:
        status, said = running.end()
    assert status == 1
    assert "gamma is 1.5" in said
    assert "Training ended with status 2, so there is nothing to serve." in said


def test_ctrl_c_stops_the_first_training(tmp_path: Path) -> None:
    """Interrupted while training, the script exits with 130 and leaves no process and no version."""
    with up(tmp_path / "store") as running:
        running.wait_for_line("at most")
        running.process.send_signal(signal.SIGINT)
        status, said = running.end()
    assert status == 130, said
    assert ModelRepository(tmp_path / "store").models() == []
