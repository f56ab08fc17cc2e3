"""Starts the real commands of this environment, as a person would type them."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent

QUICK = [
    "--total-env-steps=3000",
    "--eval-every=1500",
    "--eval-episodes=20",
    "--report-episodes=50",
    "--gate-episodes=50",
    "--hidden-sizes",
    "32",
]
"""Training flags for tests that need some policy within seconds, however poor."""


def run(name: str, *arguments: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    words = [str(BIN / name), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)


def result(name: str, *arguments: object, timeout: float = 120) -> Any:
    """Runs a command with `--json` and returns its one line of result."""
    done = run(name, *arguments, "--json", timeout=timeout)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return json.loads(line)


def start(name: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Starts a command that the caller ends."""
    words = [str(BIN / name), *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
