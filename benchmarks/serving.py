"""Compares dqn-serve with its peers and bare uvicorn with a fixed response, the stack's limit; needs Debian's `wrk`.

    .venv/bin/python benchmarks/serving.py --save

Each server has core 0 and the load generator core 1. Rounds are interleaved, so that noise affects all alike; servers
not being measured are stopped (SIGSTOP), because even an idle server uses some CPU. Every peer serves the same ONNX
file, from its own virtual environment (in ~/.cache/dqn-policy-server/peers, or $PEERS), which is installed at the first
run. Figures are medians over the rounds. --save writes the table in README.md and docs/serving.png.
"""

import contextlib
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import NamedTuple

import documents
import tyro
from load import Load, running
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from peers.servers import FOLDER, System, bare_uvicorn, dqn_serve, named_versions, peer_servers
from policies import cartpole, publish_hardly_trained
from rich.console import Console
from rich.progress import track

OURS = "dqn-serve"
CONNECTIONS = (1, 32)
PICTURE = documents.ROOT / "docs/serving.png"


class Figures(NamedTuple):
    """A system's figures at a number of connections, over all rounds; times in microseconds."""

    rate: float
    p50: float
    p99: float
    cpu: float  # per request
    errors: int


def main(seconds: int = 5, rounds: int = 5, *, peers: bool = True, save: bool = False) -> None:
    """Measures requests for one observation.

    Args:
        seconds: seconds of load per round
        rounds: number of rounds
        peers: measure the peers too, not only dqn-serve and bare uvicorn
        save: write the table in README.md and the plot
    """
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        repository = Path(name) / "store"
        publish_hardly_trained(repository, cartpole(128))
        others = peer_servers(Path(name), repository / "cartpole/1/model.onnx") if peers else []
        systems = [bare_uvicorn(), dqn_serve(OURS, repository), *others]
        measured = _measure(stack, systems, seconds, rounds)
    text = f"{_table(measured)}\n\n{documents.machine(named_versions(systems))}"
    print(text)
    if save:
        documents.write("README.md", "benchmarks/serving.py", text)
        _draw(measured)


def _measure(
    stack: contextlib.ExitStack, systems: list[System], seconds: int, rounds: int
) -> dict[tuple[str, int], Figures]:
    servers = {}
    for system in systems:
        servers[system] = stack.enter_context(running(system.command, system.request, FOLDER, system.cores))
        servers[system].pause()
    loads: dict[tuple[str, int], list[Load]] = defaultdict(list)
    for _ in track(range(rounds), "rounds", console=Console(stderr=True)):
        for connections in CONNECTIONS:
            for system, server in servers.items():
                with server.awake():
                    loads[system.name, connections].append(server.load(system.request, connections, seconds))
    return {case: _figures(several) for case, several in loads.items()}


def _figures(loads: list[Load]) -> Figures:
    rate, p50, p99, cpu, _ = (median(values) for values in zip(*loads, strict=True))
    return Figures(rate, p50, p99, cpu, sum(load.errors for load in loads))


def _table(measured: dict[tuple[str, int], Figures]) -> str:
    ours_alone, ours = (measured[OURS, connections] for connections in CONNECTIONS)
    rows = []
    for system in dict.fromkeys(name for name, _ in measured):
        alone, many = (measured[system, connections] for connections in CONNECTIONS)
        ratios = [f"{alone.p50 / ours_alone.p50:.2f}", f"{ours.rate / many.rate:.2f}"]
        times = [f"{time:,.0f}" for time in (many.p50, many.p99, many.cpu)]
        errors = f"{alone.errors + many.errors:,}"
        rows.append([system, f"{alone.p50:,.0f}", ratios[0], f"{many.rate:,.0f}", ratios[1], *times, errors])
    first = (
        "system",
        "1 connection: p50 (us)",
        "times dqn-serve's",
        "32 connections: requests/s",
        "dqn-serve: times as many",
    )
    return documents.table((*first, "p50 (us)", "p99 (us)", "CPU (us)", "errors"), rows)


def _draw(measured: dict[tuple[str, int], Figures]) -> None:
    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, connections in zip(figure.subplots(1, 2), CONNECTIONS, strict=True):
        bars = {system: figures.rate for (system, count), figures in measured.items() if count == connections}
        drawn = axes.barh(list(bars), list(bars.values()), color=["C3" if name == OURS else "C0" for name in bars])
        axes.bar_label(drawn, fmt="{:,.0f}", padding=3)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.2 * max(bars.values()))
        axes.set_title(f"requests/s, {connections} connection{'s' * (connections > 1)}")
    figure.savefig(PICTURE, dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    tyro.cli(main)
