"""examples/plant, the environment of docs/your-environment.md, with the commands on that page."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

from dqn_models.repository import ModelRepository
from dqn_testing.commands import QUICK, free_port, run
from dqn_testing.server import running_server

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "your-environment.md"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example, as the working directory."""
    shutil.copytree(ROOT / "examples" / "plant", tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("DQN_RUNS")
    return tmp_path / "project"


def control(*arguments: str, stderr: int = subprocess.STDOUT) -> list[str]:
    """The lines that the control loop prints."""
    words = [sys.executable, "-m", "plant.control", *arguments]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()


@pytest.mark.slow
def test_plant_is_trained_tuned_served_and_controlled(project: Path) -> None:
    """The page's commands, with small budgets, lead from the environment's package to a controlled plant."""
    short = ["--trials=1", "--seeds=1", "--evaluations=2", "--episodes=2", "--finalists=0", "--total-env-steps=1000"]
    for name, arguments in (
        ("dqn-train", ["--preset=tank.toml", *QUICK]),
        ("dqn-evaluate", ["tank", "--episodes=2"]),
        ("dqn-tune", ["--preset=tank.toml", *short]),
    ):
        done = run(name, *arguments)
        assert done.returncode == 0, done.stderr
    assert (project / "runs" / "tune-tank" / "preset.toml").exists()
    with running_server(ModelRepository(project / "models" / "store"), env={"DQN_MODEL": "tank"}) as server:
        server.wait_ready()
        returns, mean = control("--url", server.url, "--episodes", "2")
    assert re.fullmatch(r"returns: -?[\d.]+ -?[\d.]+", returns)
    assert re.fullmatch(r"mean: -?[\d.]+", mean)


@pytest.mark.usefixtures("project")
def test_rule_takes_over() -> None:
    """Without a server the plant is controlled by the rule, and the reason is printed once."""
    url = f"http://127.0.0.1:{free_port()}"
    reason, returns, mean, count = control("--url", url, "--episodes", "1")
    assert reason.startswith("The rule takes over: Cannot reach ")
    assert [returns, mean] == control("--rule", "--episodes", "1")
    assert count == "200 decisions were made by the rule."


@pytest.mark.usefixtures("project")
def test_control_continues_without_a_log() -> None:
    """The plant is still controlled after the reader of the log has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        lines = control("--url", f"http://127.0.0.1:{free_port()}", "--episodes", "1", stderr=writer)
    finally:
        os.close(writer)
    assert lines[-1] == "200 decisions were made by the rule."


def test_plant_is_what_gymnasium_expects(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gymnasium's own checker finds nothing in the environment."""
    monkeypatch.syspath_prepend(project)
    check_env(gymnasium.make("plant:Tank-v0").unwrapped)


def test_page_quotes_the_example() -> None:
    """Every line of code on the page is in the example's files."""
    lines = {
        line.strip()
        for path in (ROOT / "examples" / "plant").rglob("*.*")
        if path.suffix in {".py", ".toml"}
        for line in path.read_text("utf-8").splitlines()
    }
    quoted = re.findall(r"```(?:python|toml)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert quoted
    for line in "".join(quoted).splitlines():
        assert not line.strip() or line.strip() in lines, line
