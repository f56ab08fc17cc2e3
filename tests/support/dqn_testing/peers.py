"""Packages that fit no environment of ours, each in an environment of its own, which is kept in pytest's cache."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest


def peer_environment(cache: pytest.Cache, name: str, packages: list[str]) -> Path:
    """The `bin` folder of an environment with these packages; made once. Skips the test where that is not possible."""
    folder = cache.mkdir(name)
    home = folder / "-".join(packages[0].split("=="))
    with (folder / "lock").open("w") as lock:  # other runs of the tests wait
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "installed").exists():
            _install(home, packages)
    return home / "bin"


def _install(home: Path, packages: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
    command = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    if installed.returncode and not os.environ.get("CI"):
        pytest.skip(f"{packages[0]} cannot be installed here")
    assert installed.returncode == 0, installed.stderr
    (home / "installed").touch()
