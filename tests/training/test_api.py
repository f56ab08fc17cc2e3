"""The public Python interface."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from dqn_training import evaluate, publish, train

SHORT: dict[str, Any] = {
    "total_env_steps": 600,
    "eval_every": 600,
    "eval_episodes": 2,
    "gate_episodes": 2,
    "report_episodes": 3,
}


def test_a_candidate_is_trained_evaluated_and_published(tmp_path: Path) -> None:
    """The environment's own preset and model name; the manifest has the evaluation; settings are those given."""
    candidate = train("CartPole-v1", seed=3, learning_starts=128, **SHORT)
    published = publish(candidate, repository=tmp_path)
    assert (published.manifest.model, published.manifest.version, published.promoted) == ("cartpole", 1, True)
    assert (published.manifest.training.preset, published.manifest.training.seed) == ("cartpole", 3)
    assert published.manifest.evaluation == evaluate(candidate)


def test_importing_the_package_does_not_import_the_learning_stack() -> None:
    """Commands answer --help at once."""
    code = "import sys, dqn_training; assert not {'torch', 'gymnasium'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
