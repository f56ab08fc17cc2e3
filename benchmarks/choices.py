"""The evidence for the rules of the preset `general`: small environments trained with each alternative, as a table.

    .venv/bin/python benchmarks/choices.py --seeds 3

The environments are not those of benchmarks/zero_config.py, and seeds start at 100. Each run is one line in the results
file; existing runs are not repeated. A run's score is the mean of its evaluations after each quarter, which rewards
both fast learning and a good final policy.
"""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import documents
import numpy as np
import tyro

from dqn_training.choosing import choose_settings
from dqn_training.config import DQNConfig
from dqn_training.envs.make import environment_for
from dqn_training.run.run import Run

_QUARTERS = 4
_EPISODES: dict[str, Any] = {
    "eval_episodes": 10,
    "eval_fraction": 1_000.0,
    "episode_step_limit": 200,
    "vectorization": "sync",
}


class Question(NamedTuple):
    """A rule and the alternatives that are compared: given settings, while `general` chooses the rest."""

    rule: str
    env_steps: dict[str, int]
    answers: dict[str, dict[str, Any]]


_HERE = "choice_environments:"
_DELIVERY, _CLIFFS = {f"{_HERE}Delivery-v0": 15_000}, {f"{_HERE}LongCliffs-v0": 20_000}
_SLIPPERY = {f"{_HERE}Slippery-v0": 15_000}
_PUSHED, _SCALED = {f"{_HERE}PushedCartPole-v0": 8_000}, {f"{_HERE}ScaledCartPole-v0": 8_000}
_LARGE = {f"{_HERE}Inventory-v0": 8_000}
_RETURNS: dict[str, dict[str, Any]] = {str(steps): {"n_step": steps} for steps in (1, 3, 5)}
_SLOW: dict[str, Any] = {"learning_rate": 1e-3, "tau": 0.01}
_FAST: dict[str, Any] = {"learning_rate": 3e-3, "tau": 0.02}
_WIDE: dict[str, Any] = {"train_every": 4, "batch_size": 128, "hidden_sizes": (128, 128)}
_SMALL: dict[str, Any] = {"train_every": 4, "batch_size": 64, "hidden_sizes": (64, 64)}

QUESTIONS = (
    Question(
        "finite observations are learned fast",
        _CLIFFS | _DELIVERY | _SLIPPERY,
        {
            "slow": _SLOW | _WIDE,
            "fast": _FAST | _WIDE,
            "fast, small": _FAST | _SMALL,
            "slow, small, every 2": _SLOW | _SMALL | {"train_every": 2},
            "fast, small, every 2": _FAST | _SMALL | {"train_every": 2},
        },
    ),
    Question("`n_step` 1 for finite observations", {f"{_HERE}LittleSlippery-v0": 10_000} | _SLIPPERY, _RETURNS),
    Question("`n_step` 3 for mostly deterministic transitions", _PUSHED, _RETURNS),
    Question(
        "`n_step` 3 also for stochastic transitions", {f"{_HERE}SlipperyCoordinates-v0": 10_000} | _LARGE, _RETURNS
    ),
    Question("`layer_norm` for features", _PUSHED, {"on": {"layer_norm": True}, "off": {"layer_norm": False}}),
    Question("`batch_size` 64 for features", _PUSHED, {"64": {"batch_size": 64}, "128": {"batch_size": 128}}),
    Question(
        "`normalize` features far from 1", _SCALED | _LARGE, {"on": {"normalize": True}, "off": {"normalize": False}}
    ),
    Question("`reward_scale` a power of ten", _LARGE, {"0.01": {"reward_scale": 0.01}, "none": {"reward_scale": 1.0}}),
    Question(
        "`network` mlp for small images",
        {f"{_HERE}Berries-v0": 10_000, "MinAtar/Asterix-v1": 10_000},
        {
            "mlp, batch 64": {"network": "mlp", "batch_size": 64, "layer_norm": True},
            "mlp, batch 32": {"network": "mlp", "batch_size": 32, "layer_norm": True},
            "convolutions, batch 32, no layer norm": {"network": "auto", "batch_size": 32, "layer_norm": False},
        },
    ),
)


def main(seeds: int = 3, first: int = 100, results: Path = Path("docs/choices.jsonl"), *, save: bool = True) -> None:
    """Trains missing runs and writes the table in docs/ablation.md.

    Args:
        seeds: number of seeds
        first: first seed
        results: file of results, JSON Lines
        save: write the table
    """
    for seed in range(first, first + seeds):
        for question in QUESTIONS:
            for env_id, steps in question.env_steps.items():
                for given in question.answers.values():
                    _run_once(results, env_id, steps, given, seed)
    text = table(_read(results))
    print(text)
    if save:
        documents.write("docs/ablation.md", "benchmarks/choices.py", text)


def _run_once(results: Path, env_id: str, steps: int, given: dict[str, Any], seed: int) -> None:
    key = _key(env_id, steps, given) | {"seed": seed}
    if any(key.items() <= line.items() for line in _read(results)):
        return
    every = steps // _QUARTERS
    config = DQNConfig(env_id=env_id, seed=seed, total_env_steps=steps, eval_every=every, **(_EPISODES | given))
    environment = environment_for(config)
    config, _ = choose_settings(config, environment, given)
    started = time.process_time()
    candidate = Run(config, "choices", environment).train()
    line = key | {
        "cpu_seconds": round(time.process_time() - started, 1),
        "evaluations": [round(score.mean, 3) for score in candidate.scores],
    }
    with results.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(line, flush=True)


def _key(env_id: str, steps: int, given: dict[str, Any]) -> dict[str, Any]:
    """The key that identifies runs, except for the seed (and for the other rules at the time)."""
    settings = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    return {"env_id": env_id, "env_steps": steps, "given": settings}


def _read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def table(lines: list[dict[str, Any]]) -> str:
    """The Markdown table: one row for each rule and environment."""
    rows = []
    for question in QUESTIONS:
        for env_id, steps in question.env_steps.items():
            cells = []
            for name, given in question.answers.items():
                key = _key(env_id, steps, given)
                runs = [line for line in lines if key.items() <= line.items()]
                if runs:
                    scores = [float(np.mean(line["evaluations"])) for line in runs]
                    ends = [line["evaluations"][-1] for line in runs]
                    cpu = np.mean([line["cpu_seconds"] for line in runs])
                    each = ", ".join(f"{score:.3g}" for score in scores)
                    cells.append(
                        f"{name}: {np.mean(scores):.3g} ({each}), at the end {np.mean(ends):.3g} ({cpu:.0f} s)"
                    )
            if len(cells) > 1:
                rows.append([question.rule, env_id.rpartition(":")[2], "; ".join(cells)])
    columns = ("rule", "environment", "mean of the evaluations (per seed), mean of the last one, CPU seconds")
    return documents.table(columns, rows)


if __name__ == "__main__":
    tyro.cli(main)
