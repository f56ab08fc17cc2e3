"""dqn-serve beside its peers and bare uvicorn with a fixed answer, the limit of this stack; needs Debian's `wrk`.

    .venv/bin/python benchmarks/serving.py --peers

Each server has core 0 to itself (with two workers both cores) and the load generator core 1; rounds are interleaved:
all meet the same noise, which disturbs the server's CPU time for a request least. Every peer serves the same ONNX file,
from an environment of its own (in build/peers, or $PEERS) that is installed at the first run. Batches of 1,024 are also
run by ONNX Runtime alone, on core 0, without any server. With --save README's table and docs/serving.png are written.
"""

import contextlib
import json
import os
import tempfile
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import readme
import tyro
from load import Load, Request, running
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from peers.servers import FOLDER, System, bare_uvicorn, dqn_serve, named_versions, peers
from rich.console import Console
from rich.progress import track

from models.policy import Policy
from models.repository import ModelRepository
from training.challenger import train_challenger
from training.config import DQNConfig
from training.experience.environments import environment_for
from training.pipeline import publish
from training.presets import PRESETS

BATCH = 1024
OURS = "dqn-serve"
PICTURE = Path(__file__).parent.parent / "docs/serving.png"


class Case(NamedTuple):
    """One row of the table."""

    system: System
    connections: int
    what: str = "one observation"
    observations: int = 1  # in each request


def main(seconds: int = 5, rounds: int = 5, *, peers: bool = False, save: bool = False) -> None:
    """Measures.

    Args:
        seconds: of load in a round
        rounds: how many
        peers: measure the peers too
        save: write README's table and the picture
    """
    measured: dict[Case, list[Load]] = defaultdict(list)
    alone: list[float] = []
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        cases = _cases(folder, with_peers=peers)
        policy = ModelRepository(folder / "small").load_policy("cartpole", 1)
        systems = dict.fromkeys(case.system for case in cases)
        servers = {
            system: stack.enter_context(running(system.command, system.request, FOLDER, system.cores))
            for system in systems
        }
        for _ in track(range(rounds), "rounds", console=Console(stderr=True)):
            for case in cases:
                measured[case].append(servers[case.system].load(case.system.request, case.connections, seconds))
            alone.append(_alone(policy, seconds))
    text = f"{_table(measured)}\n\nONNX Runtime alone, batches of {BATCH:,}: {median(alone):,.0f} observations/s."
    text += f" {readme.machine({'onnxruntime': version('onnxruntime')} | named_versions(systems))}"
    print(text)
    if save:
        readme.write("benchmarks/serving.py", text)
        _draw(measured)


def _cases(folder: Path, *, with_peers: bool) -> list[Case]:
    small, wide, pixels = folder / "small", folder / "wide", folder / "pixels"  # repositories
    _publish(small, _config(128))
    _publish(wide, _config(1024))
    _publish(pixels, PRESETS["minatar-breakout"])
    _publish(pixels, PRESETS["breakout"])
    ours = dqn_serve(OURS, small)
    others = peers(folder, small / "cartpole/1/model.onnx") if with_peers else []
    batch_json = dqn_serve(f"{OURS}, JSON", small, _json_batch())
    batch_binary = dqn_serve(f"{OURS}, binary", small, _tensor("cartpole", _observations(BATCH), "FP32"))
    two = dqn_serve(f"{OURS}, 2 workers on both cores, JSON", small, _json_batch(), workers=2, cores="0,1")
    wide_one = dqn_serve(f"{OURS}, 4-1024-1024-2", wide)
    minatar = dqn_serve(f"{OURS}, 10x10x4 pixels, JSON", pixels, _json_image("minatar-breakout"))
    atari = dqn_serve(f"{OURS}, 84x84x4 pixels, binary", pixels, _tensor("breakout", _images(4, 84, 84), "UINT8"))
    return [
        *(Case(system, connections) for connections in (1, 32) for system in (bare_uvicorn(), ours, *others)),
        *(Case(system, 1, f"{BATCH:,} observations", BATCH) for system in (batch_json, batch_binary)),
        *(Case(system, 8, f"{BATCH:,} observations", BATCH) for system in (batch_json, two)),
        *(Case(system, connections) for system in (wide_one, minatar, atari) for connections in (1, 32)),
    ]


def _config(width: int) -> DQNConfig:
    return DQNConfig(hidden_sizes=(width, width), layer_norm=False)


def _publish(folder: Path, config: DQNConfig) -> None:
    """A policy after a few steps: how well it plays does not matter here."""
    few = {"total_env_steps": 2_000, "eval_episodes": 1, "report_episodes": 2, "episode_step_limit": 50}
    changed = DQNConfig(**(vars(config) | few | {"learning_starts": 1_900, "replay_capacity": 5_000}))
    name = next((preset for preset in ("breakout", "minatar-breakout") if config is PRESETS[preset]), "cartpole")
    challenger = train_challenger(changed, "general", environment_for(changed), lambda *_: None)
    publish(challenger, ModelRepository(folder), name, "non-inferior", "benchmark")


def _observations(count: int) -> NDArray[np.float32]:
    """Numbers with six digits, as controllers send them."""
    return np.random.default_rng(0).normal(size=(count, 4)).round(6).astype(np.float32)


def _images(*shape: int, values: int = 256) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, values, (1, *shape), dtype=np.uint8)


def _json_batch() -> Request:
    body = json.dumps({"observations": _observations(BATCH).astype(float).round(6).tolist()})
    return Request("/act", body.encode(), (("content-type", "application/json"),))


def _json_image(model: str) -> Request:
    body = json.dumps({"observation": _images(10, 10, 4, values=2)[0].tolist()})
    return Request(f"/models/{model}/act", body.encode(), (("content-type", "application/json"),))


def _tensor(model: str, observations: NDArray[np.generic], datatype: str) -> Request:
    """A request of the standard protocol, binary both ways."""
    tensor = {"name": "observation", "shape": list(observations.shape), "datatype": datatype}
    head = {
        "inputs": [tensor | {"parameters": {"binary_data_size": observations.nbytes}}],
        "outputs": [{"name": "action", "parameters": {"binary_data": True}}],
    }
    json_part = json.dumps(head).encode()
    length = ("Inference-Header-Content-Length", str(len(json_part)))
    headers = (length, ("content-type", "application/octet-stream"))
    return Request(f"/v2/models/{model}/infer", json_part + observations.tobytes(), headers)


def _alone(policy: Policy, seconds: float) -> float:
    """Observations a second by the policy's run alone, on the server's core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})
    observations, runs, started = _observations(BATCH), 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        policy.run(observations)
        runs += 1
    rate = runs * BATCH / (time.perf_counter() - started)
    os.sched_setaffinity(0, cores)
    return rate


def _table(measured: dict[Case, list[Load]]) -> str:
    """Medians over the rounds; the last column compares systems that got one observation from as many connections."""
    rates = {case: median(load.requests_per_second for load in loads) for case, loads in measured.items()}
    ours = {case.connections: rate for case, rate in rates.items() if case.system.name == OURS}
    compared = {
        case for case in measured if "," not in case.system.name or case.system.name.startswith(("bare", "Fast"))
    }
    rows = []
    for case, loads in measured.items():
        _, p50, p99, cpu, _ = (median(values) for values in zip(*loads, strict=True))
        errors = sum(load.errors for load in loads)
        figures = [f"{x:,.0f}" for x in (rates[case], rates[case] * case.observations, p50, p99)]
        figures += [f"{cpu:,.0f}" if cpu else "-", f"{errors:,}"]  # BentoML's workers leave their session
        faster = f"{ours[case.connections] / rates[case]:.2f}" if case in compared else ""
        rows.append([case.system.name, case.what, f"{case.connections}", *figures, faster])
    columns = ("system", "request", "connections", "requests/s", "observations/s", "p50 (us)", "p99 (us)", "CPU (us)")
    return readme.table((*columns, "errors", f"{OURS} answers as many times more"), rows)


def _draw(measured: dict[Case, list[Load]]) -> None:
    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    names = list(dict.fromkeys(case.system.name for case in measured))[:6]
    for axes, connections in zip(figure.subplots(1, 2), (1, 32), strict=True):
        bars = {
            case.system.name: median(load.requests_per_second for load in loads)
            for case, loads in measured.items()
            if case.connections == connections and case.system.name in names
        }
        drawn = axes.barh(list(bars), list(bars.values()), color=["C3" if name == OURS else "C0" for name in bars])
        axes.bar_label(drawn, fmt="{:,.0f}", padding=3)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.2 * max(bars.values()))
        axes.set_title(f"requests/s, {connections} connection{'s' * (connections > 1)}")
    figure.savefig(PICTURE, dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    tyro.cli(main)
