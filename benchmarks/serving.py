"""`POST /act` of dqn-serve beside bare uvicorn with a fixed answer, the limit of this stack; needs Debian's `wrk`.

    .venv/bin/python benchmarks/serving.py

One observation, a batch of 1,024 as JSON, and one observation for a network with two layers of 1,024. Each server has
core 0 to itself and the load generator core 1; rounds are interleaved: all meet the same noise, which disturbs the
server's CPU time for a request least.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from models.repository import ModelRepository
from training.challenger import train_challenger
from training.config import DQNConfig
from training.experience.environments import describe
from training.pipeline import publish

ONE = '{"observation": [0.02, -0.01, 0.03, 0.04]}'
BATCH = 1024
HERE = Path(__file__).parent
SERVER_CORE, CLIENT_CORE = "0", "1"
BARE, SMALL, WIDE = "bare uvicorn, fixed answer", "dqn-serve, 4-128-128-2", "dqn-serve, 4-1024-1024-2"


class Case(NamedTuple):
    """One row of the table."""

    system: str
    connections: int
    observations: int  # in each request

    def body(self) -> str:
        """The request's body: numbers with six digits, as controllers send them."""
        if self.observations == 1:
            return ONE
        rows = np.random.default_rng(0).normal(size=(self.observations, 4)).round(6)
        return json.dumps({"observations": rows.tolist()})


CASES = [
    *(Case(system, connections, 1) for connections in (1, 32) for system in (BARE, SMALL)),
    Case(SMALL, 1, BATCH),
    *(Case(WIDE, connections, 1) for connections in (1, 32)),
]


class Load(NamedTuple):
    """What wrk saw in one round, and what the server's process used meanwhile."""

    requests_per_second: float
    p50: float  # microseconds
    p99: float
    cpu: float  # microseconds for each request
    errors: int


def main(seconds: int = 5, rounds: int = 5) -> None:
    """Args: seconds of load in a round, and how many rounds."""
    measured: dict[Case, list[Load]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        fixed = ["uvicorn", "fixed_answer:app", f"--app-dir={HERE}", "--log-level=critical", "--lifespan=off"]
        commands = {
            BARE: fixed,
            SMALL: _publish(Path(folder) / "small", 128),
            WIDE: _publish(Path(folder) / "wide", 1024),
        }
        servers = {name: stack.enter_context(_running(command)) for name, command in commands.items()}
        for _ in range(rounds):
            for case in CASES:
                measured[case].append(_load(servers[case.system], case, seconds))
    _print(measured)


def _print(measured: dict[Case, list[Load]]) -> None:
    columns = ("requests/s", "observations/s", "p50 (us)", "p99 (us)", "CPU (us)", "errors")
    table = Table("system", "observations", "connections", *columns)
    for case, loads in measured.items():
        rate, p50, p99, cpu, _ = (median(values) for values in zip(*loads, strict=True))
        figures = (rate, rate * case.observations, p50, p99, cpu, sum(load.errors for load in loads))
        table.add_row(
            case.system, f"{case.observations}", f"{case.connections}", *(f"{value:,.0f}" for value in figures)
        )
    Console(width=140).print(table)


def _publish(folder: Path, width: int) -> list[str]:
    """Makes a policy (how well it plays does not matter here) and returns the command that serves it."""
    config = DQNConfig(
        hidden_sizes=(width, width), layer_norm=False, total_env_steps=2_000, report_episodes=2, eval_episodes=2
    )
    challenger = train_challenger(config, "general", describe(config.env_id, {}), lambda *_: None)
    publish(challenger, ModelRepository(folder), "cartpole", "non-inferior", "benchmark")
    return ["dqn-serve", "--repository", str(folder), "--log-format=json"]


class Running(NamedTuple):
    """A server's process and port."""

    process_id: int
    port: int

    def cpu_seconds(self) -> float:
        """CPU time that it has used so far."""
        fields = Path(f"/proc/{self.process_id}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[Running]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    program = Path(sys.executable).with_name(command[0])
    words = ["taskset", "-c", SERVER_CORE, str(program), *command[1:], f"--port={port}"]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        _wait(port)
        yield Running(process.pid, port)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _wait(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            httpx.post(f"http://127.0.0.1:{port}/act", content=ONE).raise_for_status()
            return
        time.sleep(0.1)
    raise TimeoutError(f"nobody answers on port {port}")


def _load(server: Running, case: Case, seconds: int) -> Load:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"wrk.method = 'POST'\nwrk.body = '{case.body()}'\n")
        script.write(
            "done = function(s, l, r) print('R', s.requests, s.duration, l:percentile(50), l:percentile(99), "
            "s.errors.status + s.errors.connect + s.errors.read + s.errors.write + s.errors.timeout) end\n"
        )
        script.flush()
        words = ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{case.connections}", f"-d{seconds}", "-s", script.name]
        used = server.cpu_seconds()
        output = subprocess.run(
            [*words, f"http://127.0.0.1:{server.port}/act"], capture_output=True, text=True, check=True
        ).stdout
        used = server.cpu_seconds() - used
    found = re.search(r"^R\s+(.*)$", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk printed no result: {output}")
    requests, microseconds, p50, p99, errors = (float(value) for value in found[1].split())
    return Load(requests / microseconds * 1e6, p50, p99, used / requests * 1e6, int(errors))


if __name__ == "__main__":
    tyro.cli(main)
