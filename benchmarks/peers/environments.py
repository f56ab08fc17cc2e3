"""A virtual environment for each peer, so that their requirements do not meet ours or each other's."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(os.environ.get("PEERS", "build/peers"))
"""Where the environments are; a second run finds them there."""

_TORCH = f"torch=={version('torch').partition('+')[0]}"


def peer_python(name: str, requirements: Sequence[str]) -> Path:
    """The Python of the environment `name`, which is made, with the requirements, if it is not there yet.

    Raises subprocess.CalledProcessError when an installation fails.
    """
    folder = (FOLDER / name).absolute()
    python = folder / "bin/python"
    if not (folder / "installed").exists():
        print(f"installing {', '.join(requirements)} in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        first = [_TORCH] if "torch" in requirements else []  # alone, so that pip takes the build that is chosen for us
        for wanted in (first, [requirement for requirement in requirements if requirement != "torch"]):
            if wanted:
                subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
        (folder / "installed").touch()
    return python


def versions(python: Path, packages: Sequence[str]) -> Mapping[str, str]:
    """The installed versions of packages."""
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    found = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=True).stdout
    return dict(zip(packages, found.split(), strict=True))
