"""Images and containers for tests: with Docker, or with the tools in CONTAINER_TOOLS if there is no daemon."""

import contextlib
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BASE = "python:3.11-slim-bookworm"
USER = 10001


@dataclass(frozen=True)
class Engine:
    """The commands that prepare the base image, build, run a container on the host's network, and so on."""

    prepare: list[str]
    build: list[str]
    run: list[str]
    control: list[str]

    def inspect(self, image: str) -> dict[str, Any]:
        """What the engine knows about an image."""
        found: list[dict[str, Any]] = json.loads(output([*self.control, "image", "inspect", image]))
        return found[0]

    @contextlib.contextmanager
    def container(self, image: str, *options: str) -> Iterator["Container"]:
        """Runs a container in the background, read-only except for /tmp, and removes it at the end."""
        name = f"dqn-test-{uuid.uuid4().hex[:8]}"
        output([*self.run, "--detach", "--name", name, "--read-only", "--tmpfs", "/tmp", *options, image])  # noqa: S108
        try:
            yield Container(self, name)
        finally:
            output([*self.control, "rm", "--force", name])


@dataclass(frozen=True)
class Container:
    """A container by name."""

    engine: Engine
    name: str

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the container."""
        arguments = [*self.engine.control, "exec", self.name, *command]
        return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)

    def stop(self) -> int:
        """Sends SIGTERM, waits, and returns the exit status."""
        output([*self.engine.control, "stop", "--time", "30", self.name])
        return int(output([*self.engine.control, "inspect", "--format", "{{.State.ExitCode}}", self.name]))


def output(command: list[str]) -> str:
    """Runs a command in the project's folder, which must succeed, and returns its output."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def find_engine() -> Engine:
    """CONTAINER_TOOLS if it exists, else Docker; with neither, the test fails."""
    tools = Path(os.environ.get("CONTAINER_TOOLS", ROOT / "../shared/tools/container"))
    tools = (ROOT / tools).resolve()
    if (tools / "build").is_file():
        podman = ["podman", "--storage-driver", "vfs", "--runtime", "runc"]
        return Engine([str(tools / "make-base")], [str(tools / "build")], [str(tools / "run")], podman)
    if not shutil.which("docker"):
        pytest.fail(
            "The container test needs Docker, or CONTAINER_TOOLS set to a folder with make-base, build and run."
        )
    return Engine(
        ["docker", "pull", BASE], ["docker", "build", "--tag"], ["docker", "run", "--network", "host"], ["docker"]
    )
