"""An environment that raises at forbidden actions, with the commands: train, evaluate, retrain, record and serve."""

from pathlib import Path

import gymnasium
import pytest

from dqn_client import PolicyClient
from dqn_testing.commands import QUICK, result, run
from dqn_testing.server import running_server

pytestmark = pytest.mark.slow

MASKED = "tests.training.mask_environments:Masked-v0"
EPISODES = 20


def test_what_is_served_with_masks_is_what_was_evaluated(tmp_path: Path) -> None:
    """The returns over HTTP, each action with the mask of its state, are those of `dqn-evaluate`, seed by seed."""
    at = ["--repository", tmp_path]
    flags = [*QUICK, "--env-id", MASKED, "--name", "masked", "--vectorization", "sync"]
    assert result("dqn-train", *at, *flags)["environment"]["action_mask"] == "info"
    outcome = result("dqn-retrain", "--once", "--name", "masked", *at, "--total-env-steps=1000", "--gate-episodes=20")
    assert outcome["champion_version"] == 1
    evaluated = result(
        "dqn-evaluate", "masked", *at, "--episodes", EPISODES, "--seed", 7, "--video", tmp_path / "x.gif"
    )
    assert evaluated["video"]["frames"] > 0
    environment = gymnasium.make(MASKED)
    with running_server(tmp_path, model="masked") as server, PolicyClient(server.url) as client:
        server.wait_ready()
        returns = []
        for seed in range(7, 7 + EPISODES):
            observation, info = environment.reset(seed=seed)
            returns.append(0.0)
            is_over = False
            while not is_over:
                action = client.act(observation, action_mask=info["action_mask"]).action
                observation, reward, terminated, truncated, info = environment.step(action)
                returns[-1] += float(reward)
                is_over = terminated or truncated
    assert returns == evaluated["returns"]


def test_without_masks_the_environment_s_error_is_reported(tmp_path: Path) -> None:
    """`--action-masks off` tries every action, and the environment's error becomes one sentence."""
    done = run("dqn-train", "--repository", tmp_path, *QUICK, "--env-id", MASKED, "--action-masks", "off")
    assert done.returncode == 1
    assert "is not allowed in state" in done.stderr
    assert "Traceback" not in done.stderr
