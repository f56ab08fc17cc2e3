"""`POST /act` of dqn-serve beside bare uvicorn with a fixed answer, the limit of this stack; needs Debian's `wrk`.

    .venv/bin/python benchmarks/serving.py

Each server has core 0 to itself and the load generator core 1; rounds are interleaved: both meet the same noise.
"""

import contextlib
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
import tyro
from rich.console import Console
from rich.table import Table

from models.manifest import Manifest
from models.repository import ModelRepository
from training.challenger import train_challenger
from training.config import DQNConfig
from training.experience.environments import describe
from training.pipeline import publish

BODY = '{"observation": [0.02, -0.01, 0.03, 0.04]}'
HERE = Path(__file__).parent
SERVER_CORE, CLIENT_CORE = "0", "1"


class Load(NamedTuple):
    """What wrk saw in one round."""

    requests_per_second: float
    p50: float  # microseconds
    p99: float
    errors: int


def main(seconds: int = 5, rounds: int = 5) -> None:
    """Args: seconds of load in a round, and how many rounds."""
    measured: dict[tuple[str, int], list[Load]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        _publish_policy(Path(folder))
        commands = {
            "bare uvicorn, fixed answer": [
                "uvicorn",
                "fixed_answer:app",
                f"--app-dir={HERE}",
                "--log-level=critical",
                "--lifespan=off",
            ],
            "dqn-serve": ["dqn-serve", "--repository", folder, "--log-format=json"],
        }
        ports = {name: stack.enter_context(_running(command)) for name, command in commands.items()}
        for _ in range(rounds):
            for connections in (1, 32):
                for name, port in ports.items():
                    measured[name, connections].append(_load(port, connections, seconds))
    table = Table("system", "connections", "requests/s", "p50 (us)", "p99 (us)", "errors")
    for (name, connections), loads in sorted(measured.items(), key=lambda item: item[0][1]):
        rate, p50, p99 = (median(values) for values in list(zip(*loads, strict=True))[:3])
        errors = sum(load.errors for load in loads)
        table.add_row(name, str(connections), f"{rate:,.0f}", f"{p50:,.0f}", f"{p99:,.0f}", str(errors))
    Console(width=120).print(table)


def _publish_policy(folder: Path) -> Manifest:
    """A 4-128-128-2 policy; how well it plays does not matter here."""
    config = DQNConfig(layer_norm=False, total_env_steps=2_000, report_episodes=2, eval_episodes=2)
    challenger = train_challenger(config, "general", describe(config.env_id, {}), lambda *_: None)
    return publish(challenger, ModelRepository(folder), "cartpole", "non-inferior", "benchmark").manifest


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    program = Path(sys.executable).with_name(command[0])
    words = ["taskset", "-c", SERVER_CORE, str(program), *command[1:], f"--port={port}"]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        _wait(port)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _wait(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            httpx.post(f"http://127.0.0.1:{port}/act", content=BODY).raise_for_status()
            return
        time.sleep(0.1)
    raise TimeoutError(f"nobody answers on port {port}")


def _load(port: int, connections: int, seconds: int) -> Load:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"wrk.method = 'POST'\nwrk.body = '{BODY}'\n")
        script.write(
            "done = function(s, l, r) print('R', s.requests / s.duration * 1e6, l:percentile(50), l:percentile(99), "
            "s.errors.status + s.errors.connect + s.errors.read + s.errors.write + s.errors.timeout) end\n"
        )
        script.flush()
        words = ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}", "-s", script.name]
        output = subprocess.run(
            [*words, f"http://127.0.0.1:{port}/act"], capture_output=True, text=True, check=True
        ).stdout
    found = re.search(r"^R\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk printed no result: {output}")
    return Load(float(found[1]), float(found[2]), float(found[3]), int(float(found[4])))


if __name__ == "__main__":
    tyro.cli(main)
