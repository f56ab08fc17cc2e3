"""The example client, started as a user would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_linear
from dqn_testing.server import running_server

EXAMPLE = Path(__file__).parents[2] / "examples/play_cartpole.py"


ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
"""Environment variables of a machine on which Python assumes ASCII."""


def play(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the example to completion."""
    words = [sys.executable, str(EXAMPLE), *arguments]
    environment = os.environ | variables
    return subprocess.run(words, capture_output=True, text=True, timeout=100, check=False, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("way", [[], ["--stream"]], ids=["http", "stream"])
def test_cartpole_is_played(tmp_path: Path, way: list[str]) -> None:
    """With a policy that balances the pole, two episodes reach CartPole's maximum return."""
    store = ModelRepository(tmp_path)
    publish_linear(store, promote=True)
    with running_server(store) as server:
        server.wait_ready()
        done = play("--url", server.url, "--episodes", "2", *way)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "returns: 500.0 500.0\nmean: 500.0\n"


@pytest.mark.slow
def test_refusals_are_one_sentence(tmp_path: Path) -> None:
    """If the server refuses a request, the example exits with the server's sentence and status 1."""
    store = ModelRepository(tmp_path)
    publish_linear(store, promote=True)
    with running_server(store) as server:
        server.wait_ready()
        done = play("--url", server.url, "--model", "pong")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "There is no model 'pong' here; models are: cartpole.\n"


@pytest.mark.slow
def test_names_beyond_ascii(tmp_path: Path) -> None:
    """Even if Python assumes ASCII, a model's name reaches the server, and the server's sentence is printed."""
    store = ModelRepository(tmp_path)
    publish_linear(store, promote=True)
    with running_server(store) as server:
        server.wait_ready()
        for way in ([], ["--stream"]):
            done = play("--url", server.url, "--model", "mod\u00e8le", *way, **ASCII)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr == "There is no model 'mod\\xe8le' here; models are: cartpole.\n"


def test_wrong_url_is_wrong_usage() -> None:
    """With an invalid URL, ASCII or not, the example exits with status 2 and a sentence."""
    for url in ("localhost:8000", "http://127.0.0.1/mod\u00e8le?x"):
        done = play("--url", url, **ASCII)
        assert (done.returncode, done.stdout) == (2, "")
        assert "base_url is " in done.stderr
        assert "Traceback" not in done.stderr
