"""What each rule of the preset `general` rests on: small environments trained with and without it, as a table.

    .venv/bin/python benchmarks/choices.py --seeds 3

The environments are not those of benchmarks/zero_config.py, and seeds count from 100. A run is a line in the file of
results; those that are there are not run again. A run's score is the mean of its evaluations after each quarter, so
that it has to learn soon and end well.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import documents
import numpy as np
import tyro

from dqn_training.config import DQNConfig
from dqn_training.envs.make import environment_for
from dqn_training.run.run import Run

_QUARTERS = 4
_BASE: dict[str, Any] = {
    "eval_episodes": 12,
    "eval_fraction": 1_000.0,
    "episode_step_limit": 200,
    "vectorization": "sync",
}
_BASE |= {"layer_norm": False, "n_step": 1}


class Question(NamedTuple):
    """A rule, and the two answers or more that are compared where it decides."""

    rule: str
    env_steps: dict[str, int]
    answers: dict[str, dict[str, Any]]


_HERE = "choice_environments:"
_TABLES = {f"{_HERE}Slippery-v0": 15_000, f"{_HERE}Delivery-v0": 20_000, f"{_HERE}Maze-v0": 10_000}
_CLIFFS = {"reward_scale": 0.1, "num_envs": 5, "epsilon_decay_steps": 5_000}
_NUMBERS = {f"{_HERE}PushedCartPole-v0": 10_000, f"{_HERE}ScaledCartPole-v0": 10_000}
_LARGE = {f"{_HERE}Inventory-v0": 10_000}

QUESTIONS = {
    "returns of tables": Question(
        "`n_step` 1 for tables", _TABLES, {"1": {"n_step": 1}, "3": {"n_step": 3}, "5": {"n_step": 5}}
    ),
    "normalization of tables": Question(
        "`layer_norm` off for tables", _TABLES, {"off": {"layer_norm": False}, "on": {"layer_norm": True}}
    ),
    "returns of numbers": Question(
        "`n_step` 3 where chance decides little",
        _NUMBERS,
        {"1": {"layer_norm": True}, "3": {"layer_norm": True, "n_step": 3}, "5": {"layer_norm": True, "n_step": 5}},
    ),
    "normalization of numbers": Question(
        "`layer_norm` on for numbers",
        _NUMBERS,
        {"off": {"n_step": 3}, "on": {"layer_norm": True, "n_step": 3}},
    ),
    "returns with chance": Question(
        "`n_step` 1 where chance decides much",
        _LARGE,
        {
            "1": {"layer_norm": True, "reward_scale": 0.01},
            "3": {"layer_norm": True, "reward_scale": 0.01, "n_step": 3},
            "5": {"layer_norm": True, "reward_scale": 0.01, "n_step": 5},
        },
    ),
    "returns with chance and danger": Question(
        "`n_step` 1 where chance decides much",
        {f"{_HERE}SlipperyCoordinates-v0": 15_000},
        {"1": {"layer_norm": True}, "3": {"layer_norm": True, "n_step": 3}, "5": {"layer_norm": True, "n_step": 5}},
    ),
    "size of numbers": Question(
        "`normalize` numbers far from 1",
        _LARGE,
        {
            "off": {"layer_norm": True, "reward_scale": 0.01, "n_step": 3},
            "on": {"layer_norm": True, "reward_scale": 0.01, "n_step": 3, "normalize": True},
        },
    ),
    "size of CartPole's numbers": Question(
        "`normalize` numbers far from 1",
        _NUMBERS,
        {"off": {"layer_norm": True, "n_step": 3}, "on": {"layer_norm": True, "n_step": 3, "normalize": True}},
    ),
    "rewards": Question("`reward_scale` a power of ten", _LARGE, {"0.01": {"reward_scale": 0.01}, "none": {}}),
    "rewards of a table": Question(
        "`reward_scale` a power of ten",
        {f"{_HERE}Delivery-v0": 20_000},
        {"0.1": {"reward_scale": 0.1}, "none": {}},
    ),
    "targets of tables": Question(
        "`tau` 0.01 for tables",
        {f"{_HERE}LongCliffs-v0": 20_000},
        {
            "0.005": _CLIFFS,
            "0.01": _CLIFFS | {"tau": 0.01},
            "0.02": _CLIFFS | {"tau": 0.02},
        },
    ),
    "targets of tables, elsewhere": Question(
        "`tau` 0.01 for tables",
        {f"{_HERE}Delivery-v0": 20_000},
        {
            "0.005": {"reward_scale": 0.1, "epsilon_decay_steps": 5_000},
            "0.01": {"reward_scale": 0.1, "epsilon_decay_steps": 5_000, "tau": 0.01},
        },
    ),
    "exploration": Question(
        "epsilon falls for a quarter of the run",
        {f"{_HERE}Delivery-v0": 20_000},
        {"a quarter": {"epsilon_decay_steps": 5_000}, "half": {"epsilon_decay_steps": 10_000}},
    ),
    "pictures": Question(
        "`batch_size` 32 and `layer_norm` off for pictures",
        {"MinAtar/Asterix-v1": 15_000},
        {
            "32, off": {"n_step": 3, "batch_size": 32},
            "32, on": {"n_step": 3, "batch_size": 32, "layer_norm": True},
            "128, on": {"n_step": 3, "layer_norm": True},
        },
    ),
}


def main(seeds: int = 3, first: int = 100, results: Path = Path("docs/choices.jsonl"), *, save: bool = True) -> None:
    """Trains what is missing, and writes the table into docs/ablation.md.

    Args:
        seeds: how many
        first: the first of them
        results: file of results
        save: write the table
    """
    for seed in range(first, first + seeds):
        for question in QUESTIONS.values():
            for env_id, steps in question.env_steps.items():
                for settings in question.answers.values():
                    _run_once(results, env_id, steps, settings, seed)
    text = table(_read(results))
    print(text)
    if save:
        documents.write("docs/ablation.md", "benchmarks/choices.py", text)


def _run_once(results: Path, env_id: str, steps: int, settings: dict[str, Any], seed: int) -> None:
    key = _key(env_id, steps, settings) | {"seed": seed}
    if any(key.items() <= line.items() for line in _read(results)):
        return
    every = steps // _QUARTERS
    config = DQNConfig(env_id=env_id, seed=seed, total_env_steps=steps, eval_every=every, **(_BASE | settings))
    started = time.process_time()
    candidate = Run(config, "choices", environment_for(config)).train()
    line = key | {
        "cpu_seconds": round(time.process_time() - started, 1),
        "evaluations": [round(score.mean, 3) for score in candidate.scores],
    }
    with results.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(line, flush=True)


def _key(env_id: str, steps: int, settings: dict[str, Any]) -> dict[str, Any]:
    """What makes two runs the same, but for the seed: the settings that differ from DQNConfig's."""
    made, plain = (dataclasses.asdict(config) for config in (DQNConfig(**(_BASE | settings)), DQNConfig(**_BASE)))
    return {
        "env_id": env_id,
        "env_steps": steps,
        "settings": {name: made[name] for name in made if made[name] != plain[name]},
    }


def _read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown: a row for each environment in which a rule was asked about."""
    rows = []
    for question in QUESTIONS.values():
        for env_id, steps in question.env_steps.items():
            cells, counts = [], []
            for name, settings in question.answers.items():
                key = _key(env_id, steps, settings)
                runs = [line for line in lines if key.items() <= line.items()]
                if runs:
                    scores = [float(np.mean(line["evaluations"])) for line in runs]
                    ends = [line["evaluations"][-1] for line in runs]
                    cpu = np.mean([line["cpu_seconds"] for line in runs])
                    cells.append(f"{name}: {np.mean(scores):.3g}, at the end {np.mean(ends):.3g} ({cpu:.0f} s)")
                    counts.append(len(runs))
            if len(cells) > 1:
                seeds = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
                rows.append([question.rule, env_id.rpartition(":")[2], "; ".join(cells), seeds])
    return documents.table(("rule", "environment", "mean of the evaluations, the last, and CPU seconds", "seeds"), rows)


if __name__ == "__main__":
    tyro.cli(main)
