"""Compares this checkout with an earlier one, to measure the effect of changes; needs Debian's `wrk`.

    git worktree add ../before HEAD~20 && make -C ../before install
    .venv/bin/python benchmarks/revisions.py --before ../before

Servers and trainings have core 0, the load core 1. Rounds are interleaved and the order within a round alternates, so
that noise affects both alike; servers not being measured are stopped (SIGSTOP). Each figure is the median over the
rounds, each ratio the median of the rounds' ratios, now / before.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import tyro
from batches import BATCH, infer_request, json_batch, sample_observations
from load import CLIENT_CORE, Request, Server, running
from peers.servers import ACT, ONE_TENSOR
from rich.console import Console
from rich.progress import track
from rich.table import Table
from stream import HTTP, JSON, SENT, time_round_trips

NOW = Path(sys.executable).parent
CALLS = {
    "POST /act": ACT,
    f"POST /act, {BATCH:,} observations": json_batch(),
    "infer, JSON": Request("/v2/models/cartpole/infer", ONE_TENSOR, (("content-type", "application/json"),)),
    f"infer, binary, {BATCH:,} observations": infer_request("cartpole", sample_observations(BATCH), "FP32"),
}
CONNECTIONS = (1, 32)
TRAININGS: dict[str, list[str]] = {
    "cartpole": ["--preset=cartpole"],
    "tutorial": ["--preset=tutorial", "--max-episodes=200"],
    "rainbow, 3,000 steps": ["--preset=rainbow", "--total-env-steps=3000", "--eval-every=3000", "--eval-episodes=1"],
    "Acrobot-v1, 6,000 steps": ["--env-id=Acrobot-v1", "--total-env-steps=6000", "--eval-every=6000"],
}
Figures = dict[str, dict[str, list[float]]]
"""By measurement, then `before` and `now`: one figure per round."""


def main(before: Path, seconds: int = 2, rounds: int = 5, seeds: int = 5, first: int = 100) -> None:
    """Measures.

    Args:
        before: the earlier checkout, with its own .venv
        seconds: seconds of load per round
        rounds: number of rounds of serving
        seeds: number of seeds of each training; 0: no training
        first: first seed
    """
    programs = {"before": before.absolute() / ".venv/bin", "now": NOW}
    figures: Figures = defaultdict(lambda: {name: [] for name in programs})
    with tempfile.TemporaryDirectory() as folder:
        if rounds:
            _publish(programs["before"], Path(folder))
            _serve(programs, Path(folder), seconds, rounds, figures)
        for seed in track(range(first, first + seeds), "seeds", console=Console(stderr=True)):
            for system, bin_folder in _alternating(programs, seed):
                _train(system, bin_folder, Path(folder) / "runs", seed, figures)
    table = Table("measured", "before", "now", "now / before", "unit")
    for name, sides in figures.items():
        what, unit = name.rsplit("|", 1)
        ratio = median(now / old for now, old in zip(sides["now"], sides["before"], strict=True))
        table.add_row(what, f"{median(sides['before']):,.1f}", f"{median(sides['now']):,.1f}", f"{ratio:.3f}", unit)
    Console(width=120).print(table)


def _publish(bin_folder: Path, folder: Path) -> None:
    """Publishes a barely trained policy, 4-128-128-2, with the earlier checkout, which may not read newer manifests."""
    words = [str(bin_folder / "dqn-train"), "--preset=general", "--env-id=CartPole-v1", "--name=cartpole"]
    words += ["--no-layer-norm", "--total-env-steps=1500", "--eval-every=1500", "--eval-episodes=1"]
    words += [
        "--gate-episodes=2",
        "--report-episodes=2",
        f"--run-dir={folder / 'run'}",
        f"--repository={folder / 'store'}",
    ]
    subprocess.run(words, capture_output=True, check=True)


def _alternating(programs: dict[str, Path], number: int) -> list[tuple[str, Path]]:
    order = list(programs.items())
    return order[::-1] if number % 2 else order


def _serve(programs: dict[str, Path], folder: Path, seconds: int, rounds: int, figures: Figures) -> None:
    os.sched_setaffinity(0, {int(CLIENT_CORE)})
    with contextlib.ExitStack() as stack:
        servers = {}
        for system, bin_folder in programs.items():
            words: list[str | Path] = [bin_folder / "dqn-serve", "--repository", folder / "store", "--log-format=json"]
            start = _on_port(words)
            servers[system] = stack.enter_context(running(start, ACT, folder))
            servers[system].pause()
        for number in track(range(rounds), "rounds", console=Console(stderr=True)):
            for name, take in _cases(seconds):
                for system, _ in _alternating(programs, number):
                    with servers[system].awake():
                        for unit, value in take(servers[system]):
                            figures[f"{name}|{unit}"][system].append(value)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))


def _on_port(words: list[str | Path]) -> Callable[[int], list[str | Path]]:
    return lambda port: [*words, f"--port={port}"]


Case = tuple[str, Callable[[Server], Iterator[tuple[str, float]]]]


def _cases(seconds: int) -> Iterator[Case]:
    for name, request in CALLS.items():
        for connections in CONNECTIONS:
            yield f"{name}, {connections} connection{'s' * (connections > 1)}", _loaded(request, connections, seconds)
    for name in (HTTP, JSON):
        yield f"{name}, round trips of one blocking socket", _round_trips(name)


def _loaded(request: Request, connections: int, seconds: int) -> Callable[[Server], Iterator[tuple[str, float]]]:
    def take(server: Server) -> Iterator[tuple[str, float]]:
        load = server.load(request, connections, seconds)
        yield "requests/s", load.requests_per_second
        yield "p50, us", load.p50
        yield "p99, us", load.p99
        yield "CPU of the server, us", load.cpu

    return take


def _round_trips(name: str) -> Callable[[Server], Iterator[tuple[str, float]]]:
    def take(server: Server) -> Iterator[tuple[str, float]]:
        times = sorted(time_round_trips(server.port, *SENT[name], 2000))
        yield "p50, us", times[len(times) // 2]

    return take


def _train(system: str, bin_folder: Path, runs: Path, seed: int, figures: Figures) -> None:
    for number, (name, flags) in enumerate(TRAININGS.items()):
        words = ["taskset", "-c", "0", str(bin_folder / "dqn-train"), *flags, f"--seed={seed}", "--json"]
        words += ["--report-episodes=50", f"--repository={runs / system}", f"--name=m{seed}-{number}"]
        words.append(f"--run-dir={runs / system / f'run-{seed}-{number}'}")
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        training = json.loads(done.stdout)["training"]
        figures[f"train {name}|s"][system].append(training["wall_seconds"])
        figures[f"train {name}|env steps/s"][system].append(training["env_steps"] / training["wall_seconds"])


if __name__ == "__main__":
    tyro.cli(main)
