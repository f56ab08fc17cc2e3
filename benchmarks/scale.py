"""How the cost of training grows with environments, replay and network width; writes docs/scale.md and its plot.

    .venv/bin/python benchmarks/scale.py

CartPole-v1 with preset cartpole, except for what a row changes, on one core. Each figure is the best of several short
rounds, since noise only adds time. Acting means choosing actions, stepping the environments and adding to replay.
"""

import dataclasses
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import documents
import numpy as np
import torch
import tyro
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dqn_training.envs.make import environment_for
from dqn_training.learning.loop import train
from dqn_training.learning.state import make_state
from dqn_training.presets import preset_config
from dqn_training.replay.buffer import ReplayBuffer

DOCS = Path(__file__).parent.parent / "docs"
ENVIRONMENTS = (1, 8, 64, 512)
CAPACITIES = (10_000, 100_000, 1_000_000, 10_000_000)
WIDTHS = (64, 128, 256, 512, 1024)
ROUNDS = 5


class Row(NamedTuple):
    """The cost of a configuration."""

    value: int
    env_steps: float  # per second, without learning
    sample: float  # microseconds for a batch of 128
    updates: float  # per second, including sampling
    bytes: float  # of replay memory per transition


def main(seconds: float = 0.5) -> None:
    """Measures.

    Args:
        seconds: seconds per round
    """
    torch.set_num_threads(1)
    tables = {
        "environments": [_row(n, seconds, num_envs=n, replay_capacity=100_000) for n in ENVIRONMENTS],
        "replay capacity": [_row(n, seconds, replay_capacity=n) for n in CAPACITIES],
        "network width": [_row(n, seconds, hidden_sizes=(n, n)) for n in WIDTHS],
    }
    columns = ("env steps/s, acting only", "sample 128 (us)", "updates/s", "replay bytes per transition")
    parts = ["# How the cost of training grows", "", (__doc__ or "").partition("\n\n")[2].partition("\n\n")[2].strip()]
    for name, rows in tables.items():
        cells = [[f"{row.value:,}", *(f"{value:,.0f}" for value in row[1:4]), f"{row.bytes:.1f}"] for row in rows]
        parts += ["", documents.table((name, *columns), cells)]
    parts += ["", "A CartPole observation has 16 bytes; it is stored only once, even if it is also a next observation."]
    parts += ["", "![](scale.png)", "", documents.machine({"torch": torch.__version__, "numpy": np.__version__})]
    text = "\n".join([*parts, "", "Made by `benchmarks/scale.py`.", ""])
    (DOCS / "scale.md").write_text(text, encoding="utf-8")
    print(text)
    _draw(tables)


def _row(value: int, seconds: float, **changes: object) -> Row:
    config = dataclasses.replace(preset_config("cartpole"), total_env_steps=10**12, **changes)  # type: ignore[arg-type]
    acting = dataclasses.replace(config, train_every=10**12)
    environment = environment_for(acting)
    tracemalloc.start()
    state = make_state(acting, environment, None)
    taken = tracemalloc.get_traced_memory()[0]  # nearly all of it is replay
    tracemalloc.stop()
    loop = train(acting, environment, state)
    env_steps = _rate(lambda: next(loop), seconds) * config.num_envs
    replay, agent, generator = cast("ReplayBuffer", state.replay), state.agent, np.random.default_rng(0)
    _fill(replay)
    sample = 1e6 / _rate(lambda: replay.sample(config.batch_size, generator), seconds)
    updates = _rate(lambda: agent.update(replay.sample(config.batch_size, generator)), seconds)
    state.close()
    return Row(value, env_steps, sample, updates, taken / config.replay_capacity)


def _fill(replay: ReplayBuffer) -> None:
    """Fills replay, so that batches are gathered from all of its memory."""
    count = replay.num_envs
    generator = np.random.default_rng(0)
    observations = generator.normal(size=(count, 4)).astype(np.float32)
    nothing = np.zeros(count, np.bool_)
    actions = generator.integers(0, 2, count)
    while replay.time < replay.time_steps + replay.n_step:
        replay.add(observations, actions, np.ones(count), nothing, nothing, observations, ~nothing)


def _rate(work: Callable[[], object], seconds: float) -> float:
    """Calls per second in the best round."""
    best = 0.0
    for _ in range(ROUNDS):
        calls, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            work()
            calls += 1
        best = max(best, calls / (time.perf_counter() - started))
    return best


def _draw(tables: dict[str, list[Row]]) -> None:
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, rows) in zip(figure.subplots(1, len(tables)), tables.items(), strict=True):
        _panel(axes, name, rows)
    figure.savefig(DOCS / "scale.png", dpi=100, metadata={"Software": None})


def _panel(axes: Axes, name: str, rows: list[Row]) -> None:
    values = [row.value for row in rows]
    axes.loglog(values, [row.env_steps for row in rows], "o-", label="environment steps/s, acting only")
    axes.loglog(values, [row.updates for row in rows], "o-", label="updates/s, batch 128")
    axes.set_xlabel(name)
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize="small")


if __name__ == "__main__":
    tyro.cli(main)
