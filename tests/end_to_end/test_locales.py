"""Forced ASCII, and accents, spaces and bytes that are not text, in paths, settings and reasons."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.commands import BIN
from dqn_testing.repositories import publish_linear
from dqn_testing.server import running_server

pytestmark = pytest.mark.slow

LOCALES = {
    "forced ASCII": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "C": {"LC_ALL": "C"},
    "ASCII streams": {"PYTHONIOENCODING": "ascii"},
}
BUDGET = ["--total-env-steps", "400", "--learning-starts", "100", "--eval-every", "200", "--eval-episodes", "2"]
BUDGET += ["--report-episodes", "2", "--gate-episodes", "2", "--hidden-sizes", "8"]


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.long] if name == "C" else []) for name in LOCALES])
def locale(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment variables of a locale."""
    return LOCALES[request.param]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an accent and a space in its name."""
    folder = tmp_path / "größe é"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(locale: dict[str, str], command: str, *arguments: str | bytes) -> str:
    """Runs a command, which must succeed, and returns its output."""
    done = subprocess.run(
        [BIN / command, *arguments], env=os.environ | locale, capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode(errors="replace")


def test_the_repository_s_commands(folder: Path, locale: dict[str, str]) -> None:
    """Each command works on a repository whose path has accents, and records a reason exactly as it was given."""
    repository = ModelRepository(folder / "réseau x")
    for _ in range(2):
        publish_linear(repository, promote=True)
    where = ["--repository", "réseau x"]
    assert "cartpole" in run(locale, "dqn-models", "list", *where)
    run(locale, "dqn-models", "rollback", "cartpole", "--reason", "größer ☺", *where)
    run(locale, "dqn-models", "promote", "cartpole@2", "--reason", b"\xff", *where)
    assert run(locale, "dqn-models", "verify", *where).count("ok") == 2
    assert '"version"' in run(locale, "dqn-models", "show", "cartpole", *where)
    run(locale, "dqn-models", "prune", *where)
    assert [event["reason"] for event in repository.history("cartpole")][-2:] == ["größer ☺", "\udcff"]
    for strange in ("né", b"n\xff"):
        assert run(locale, "dqn-models", "list", "--repository", strange).startswith("No models in n")


def test_the_commands_of_training(folder: Path, locale: dict[str, str]) -> None:
    """Preset files, runs, trackers and images may have accents in their names."""
    (folder / "größe.toml").write_text('env_id = "CartPole-v1"\n')
    out = ["--repository", "dépôt", "--name", "plant"]
    run(locale, "dqn-train", "--preset", "größe.toml", "--tensorboard", "--run-dir", "laufé", *out, *BUDGET)
    run(locale, "dqn-evaluate", "plant", "--repository", "dépôt", "--episodes", "2", "--video", "fílm.gif")
    run(locale, "dqn-compare", "läufe=laufé", "--out", "réseau.png")
    repository = ModelRepository(folder / "dépôt")
    assert json.loads((folder / "laufé/run.json").read_text())["name"] == "plant"
    assert repository.manifest("plant", 1).training.preset
    assert {"fílm.gif", "réseau.png"} <= {path.name for path in folder.iterdir()}


def test_the_server(folder: Path, locale: dict[str, str]) -> None:
    """A server serves a repository whose path has accents."""
    repository = ModelRepository(folder / "réseau x")
    publish_linear(repository, promote=True)
    with running_server(repository, env=locale) as server:
        server.wait_ready()
        assert server.post("/act", {"observation": [0, 0, 1, 0]}).json()["action"] == 1
        assert server.stop() == 0
