"""The Makefile as users see it."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROMISED = ["help", "install", "train", "serve", "retrain", "up", "test", "test-fast", "test-long"]
PROMISED += ["coverage", "check", "format", "generate", "benchmark", "image", "test-image", "clean"]


def make(*arguments: str) -> str:
    """Runs make without changing any files."""
    done = subprocess.run(["/usr/bin/make", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def test_help_lists_every_target() -> None:
    """`make` alone is `make help`, and no target is left out of it."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    listed = re.findall(r"^  make ([a-z-]+) +\S", make(), re.MULTILINE)
    assert listed == targets == PROMISED


def test_main_targets_install_first() -> None:
    """In a fresh clone, whichever target comes first installs .venv before doing its work."""
    for target in ("up", "train", "serve", "retrain", "test"):
        plan = make("--dry-run", "--always-make", target, "PYTHON=python3")
        assert plan.index("-m venv .venv") < plan.index("pip install"), target
        assert plan.rindex("pip install") < plan.rindex(".venv/bin/"), target


def test_running_needs_no_development_tools() -> None:
    """`make up` installs only what training and serving need; `make test` adds the rest."""
    for target in ("up", "train", "serve", "retrain"):
        installs = re.findall(r"pip install .*-e '\.\[(.*)\]'", make("-nB", target))
        assert installs == ["train,serve"], target
    for target in ("install", "test", "check", "benchmark"):
        installs = re.findall(r"pip install .*-e '\.\[(.*)\]'", make("-nB", target))
        assert installs == ["train,serve", "client,dev,otel,serve,train"], target


def test_variables_reach_the_commands() -> None:
    """ARGS, PORT, PYTHON and TORCH_INDEX_URL do what the help says."""
    plan = make(
        "-nB", "serve", "ARGS=--workers 2", "PORT=9000", "PYTHON=python3.12", "TORCH_INDEX_URL=https://w.example"
    )
    assert "dqn-serve --port 9000 --workers 2" in plan
    assert "python3.12 -m venv .venv" in plan
    assert re.search(r"pip install --no-compile --index-url https://w.example torch==[0-9.]+\n", plan)
    assert "dqn-retrain --every 15m --name x" in make("-nB", "retrain", "ARGS=--name x")
    assert "--every" not in make("-nB", "retrain", "ARGS=--once")
