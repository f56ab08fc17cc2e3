"""dqn-serve with many observations per request, with larger networks, and with two workers; needs Debian's `wrk`.

    .venv/bin/python benchmarks/batches.py --save

The server has core 0 (two workers: both cores), the load generator core 1. Rounds are interleaved, figures are medians
over the rounds, and servers not being measured are stopped. Batches of 1,024 are also run by ONNX Runtime alone, on
core 0, without a server. --save writes the table in docs/serving.md.
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

import documents
import numpy as np
import tyro
from load import Load, Request, running
from numpy.typing import NDArray
from peers.servers import FOLDER, System, dqn_serve
from policies import cartpole, publish_hardly_trained
from rich.console import Console
from rich.progress import track

from dqn_models.policy import Policy
from dqn_models.repository import ModelRepository
from dqn_training.presets import preset_config

BATCH = 1024
_JSON = (("content-type", "application/json"),)


class Case(NamedTuple):
    """One row of the table."""

    system: System
    connections: int
    observations: int = 1  # per request


def main(seconds: int = 3, rounds: int = 5, *, save: bool = False) -> None:
    """Measures.

    Args:
        seconds: seconds of load per round
        rounds: number of rounds
        save: write the table in docs/serving.md
    """
    measured: dict[Case, list[Load]] = defaultdict(list)
    alone: list[float] = []
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        cases = _cases(Path(name))
        policy = ModelRepository(Path(name) / "small").load_policy("cartpole", 1)
        servers = {}
        for system in dict.fromkeys(case.system for case in cases):
            servers[system] = stack.enter_context(running(system.command, system.request, FOLDER, system.cores))
            servers[system].pause()
        for _ in track(range(rounds), "rounds", console=Console(stderr=True)):
            for case in cases:
                with servers[case.system].awake():
                    measured[case].append(servers[case.system].load(case.system.request, case.connections, seconds))
            alone.append(_alone(policy, seconds))
    text = f"{_table(measured)}\n\nONNX Runtime alone, batches of {BATCH:,}: {median(alone):,.0f} observations/s."
    text += f" {documents.machine({'onnxruntime': version('onnxruntime')})}"
    print(text)
    if save:
        documents.write("docs/serving.md", "benchmarks/batches.py", text)


def _cases(folder: Path) -> list[Case]:
    small, wide, pixels = folder / "small", folder / "wide", folder / "pixels"  # repositories
    publish_hardly_trained(small, cartpole(128))
    publish_hardly_trained(wide, cartpole(1024))
    for preset in ("minatar-breakout", "breakout"):
        publish_hardly_trained(pixels, preset_config(preset), preset)
    binary = infer_request("cartpole", sample_observations(BATCH), "FP32")
    batch_json = dqn_serve("4-128-128-2, JSON", small, json_batch())
    batch_binary = dqn_serve("4-128-128-2, binary", small, binary)
    two = dqn_serve(
        "4-128-128-2, JSON, 2 workers on both cores", small, json_batch(), flags=["--workers=2"], cores="0,1"
    )
    larger = [
        dqn_serve("4-1024-1024-2, JSON", wide),
        dqn_serve("10x10x4 pixels, JSON", pixels, _json_image("minatar-breakout")),
        dqn_serve("84x84x4 pixels, binary", pixels, infer_request("breakout", _images(4, 84, 84), "UINT8")),
    ]
    return [
        *(Case(system, 1, BATCH) for system in (batch_json, batch_binary)),
        *(Case(system, 8, BATCH) for system in (batch_json, two)),
        *(Case(system, connections) for system in larger for connections in (1, 32)),
    ]


def sample_observations(count: int) -> NDArray[np.float32]:
    """Random observations [count, 4] with six decimals, as controllers send them."""
    return np.random.default_rng(0).normal(size=(count, 4)).round(6).astype(np.float32)


def _images(*shape: int, values: int = 256) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, values, (1, *shape), dtype=np.uint8)


def json_batch() -> Request:
    """A request of the native API with many observations."""
    rows = sample_observations(BATCH).astype(float).round(6).tolist()
    return Request("/act", json.dumps({"observations": rows}).encode(), _JSON)


def _json_image(model: str) -> Request:
    body = json.dumps({"observation": _images(10, 10, 4, values=2)[0].tolist()})
    return Request(f"/models/{model}/act", body.encode(), _JSON)


def infer_request(model: str, observations: NDArray[np.generic], datatype: str) -> Request:
    """A request of the Open Inference Protocol, with binary tensors both ways."""
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
    """Observations per second of the policy alone, on the server's core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})
    observations, runs, started = sample_observations(BATCH), 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        policy.run(observations)
        runs += 1
    rate = runs * BATCH / (time.perf_counter() - started)
    os.sched_setaffinity(0, cores)
    return rate


def _table(measured: dict[Case, list[Load]]) -> str:
    """The table of medians over the rounds."""
    rows = []
    for case, loads in measured.items():
        rate, p50, p99, cpu, _ = (median(values) for values in zip(*loads, strict=True))
        figures = (rate, rate * case.observations, p50, p99, cpu, sum(load.errors for load in loads))
        words = [case.system.name, f"{case.observations:,}", f"{case.connections}"]
        rows.append([*words, *(f"{figure:,.0f}" for figure in figures)])
    columns = ("policy", "observations per request", "connections", "requests/s", "observations/s")
    return documents.table((*columns, "p50 (us)", "p99 (us)", "CPU (us)", "errors"), rows)


if __name__ == "__main__":
    tyro.cli(main)
