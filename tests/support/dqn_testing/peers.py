"""Packages whose requirements conflict with ours or with one another's, each in its own virtual environment.

They are installed once per machine, in $PEERS or ~/.cache/dqn-policy-server/peers, which `make clean` keeps.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
FOLDER = Path(os.environ.get("PEERS") or _CACHE / "dqn-policy-server/peers").absolute()


def peer_python(name: str, requirements: Sequence[str]) -> Path:
    """The Python of an environment with these requirements, which is installed if it is not there yet.

    A process waits while another one is installing the environment. Raises subprocess.CalledProcessError, with pip's
    output in `stderr`, if an installation fails.
    """
    digest = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()[:12]
    home = FOLDER / f"{name}-{digest}"
    home.mkdir(parents=True, exist_ok=True)
    python = home / "bin/python"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "installed").exists():
            _install(python, requirements)
            (home / "installed").touch()
    return python


def _install(python: Path, requirements: Sequence[str]) -> None:
    print(f"installing {', '.join(requirements)} in {python.parents[1]}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
    # torch alone, so that pip takes the same build as ours
    first = [f"torch=={version('torch').partition('+')[0]}"] if "torch" in requirements else []
    for wanted in (first, [requirement for requirement in requirements if requirement != "torch"]):
        if wanted:
            command = [str(python), "-m", "pip", "install", "--quiet", *wanted]
            subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)


def versions(python: Path, packages: Sequence[str]) -> Mapping[str, str]:
    """The installed versions of packages."""
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    found = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=True).stdout
    return dict(zip(packages, found.split(), strict=True))
