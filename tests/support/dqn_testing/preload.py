"""Libraries in C that tests put between a process and the system, by LD_PRELOAD."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def compiled(source: str, folder: Path) -> Path:
    """Compiles a file next to this one into `folder`; without a compiler the test is skipped, or fails in CI."""
    compiler = shutil.which("gcc")
    if not compiler:
        refuse = pytest.fail if "CI" in os.environ else pytest.skip
        refuse("This test needs a C compiler: apt-get install gcc libc6-dev.")
    library = folder / f"{source}.so"
    options = ["-shared", "-fPIC", "-Wall", "-Werror", "-O1"]
    subprocess.run([compiler, *options, "-o", library, Path(__file__).with_name(source), "-ldl"], check=True)
    return library
