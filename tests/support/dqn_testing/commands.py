"""The commands of this environment, as users type them."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

from dqn_testing.forkserver import Process

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


def run(
    name: str, *arguments: object, timeout: float = 120, is_fresh: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs a command to completion."""
    with start(name, *arguments, is_fresh=is_fresh) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def run_here(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a command in this process, for tables of wrong usage: a separate process would take seconds."""
    words = [name, *map(str, arguments)]
    (command,) = distribution("dqn-policy-server").entry_points.select(group="console_scripts", name=name)
    main = command.load()
    output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))  # as rich sees a pipe
    with _as_a_process(words), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            main()
            status = 0
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    for file in (output, errors):
        file.seek(0)
    return subprocess.CompletedProcess(words, status, output.read(), errors.read())


@contextlib.contextmanager
def _as_a_process(words: list[str]) -> Iterator[None]:
    """Restores afterwards what a command changes in its process, and turns its exit into SystemExit."""

    def leave(status: int) -> NoReturn:
        raise SystemExit(status)

    handler = signal.getsignal(signal.SIGTERM)
    with patch.object(sys, "argv", words), patch.object(sys, "path", [*sys.path]), patch.object(os, "_exit", leave):
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, handler)


def result(name: str, *arguments: object, timeout: float = 120, is_fresh: bool = False) -> Any:
    """Runs a command with `--json` and returns its one line of result."""
    done = run(name, *arguments, "--json", timeout=timeout, is_fresh=is_fresh)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return json.loads(line)


def start(name: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Starts a command that the caller stops; `is_fresh` and other options are those of forkserver.Process."""
    words = [str(BIN / name), *map(str, arguments)]
    return Process(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at present."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
