"""Calls per second of the Python client, compared with bare httpx with a prepared body.

    .venv/bin/python benchmarks/client.py
    .venv/bin/python benchmarks/client.py --before ../before    # another checkout with its own .venv, interleaved

One observation, one caller. The server has core 0 to itself and the callers core 1. Rounds are interleaved in
alternating order, so that noise affects all alike; the caller's CPU time per call is the least noisy figure.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

import tyro
from rich.console import Console
from rich.table import Table

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_linear
from dqn_testing.server import running_server

SERVER_CORE, CALLER_CORE = 0, 1
ROUND = Path(__file__).with_name("client_calls.py")
Times = list[float]
"""Of the calls in a round, in microseconds: mean, p50, p99, and the caller's CPU time per call."""


def main(calls: int = 2000, rounds: int = 7, before: Path | None = None) -> None:
    """Measures.

    Args:
        calls: calls per round of each case
        rounds: number of rounds
        before: another checkout to compare with, e.g. a git worktree with its own .venv
    """
    pythons = {"now": sys.executable} | ({"before": str(before.absolute() / ".venv/bin/python")} if before else {})
    measured: dict[str, dict[str, list[Times]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        repository = ModelRepository(folder)
        publish_linear(repository, promote=True)
        with running_server(repository) as server:
            os.sched_setaffinity(server.process.pid, {SERVER_CORE})
            os.sched_setaffinity(0, {CALLER_CORE})
            server.wait_ready()
            for number in range(rounds):
                for which in sorted(pythons, reverse=number % 2 == 1):
                    words = [pythons[which], str(ROUND), server.url, str(calls)]
                    done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
                    for name, times in json.loads(done.stdout).items():
                        measured[name][which].append(times)
    _show(measured)


def _show(measured: dict[str, dict[str, list[Times]]]) -> None:
    """Prints medians over the rounds; ratios are medians of the rounds' ratios, now / before."""
    headings = ["one caller", "calls/s", "p50 (us)", "p99 (us)", "caller's CPU (us)"]
    is_comparison = any("before" in times for times in measured.values())
    table = Table(*headings, *(["calls/s, now / before", "CPU, now / before"] if is_comparison else []))
    for name, times in measured.items():
        mean, p50, p99, cpu = (median(values) for values in zip(*times["now"], strict=True))
        cells = [f"{1e6 / mean:,.0f}", f"{p50:,.0f}", f"{p99:,.0f}", f"{cpu:,.0f}"]
        if is_comparison:
            pairs = list(zip(times["now"], times["before"], strict=True))
            cells += [f"{median(then[0] / now[0] for now, then in pairs):.2f}"]
            cells += [f"{median(now[3] / then[3] for now, then in pairs):.2f}"]
        table.add_row(name, *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    tyro.cli(main)
