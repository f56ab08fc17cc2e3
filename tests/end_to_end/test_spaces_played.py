"""Environments with any space of observations and actions: trained, served and played with the client's actions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from dqn_client import PolicyClient
from dqn_models.repository import ModelRepository
from dqn_testing.commands import QUICK, result
from dqn_testing.repositories import publish_linear
from dqn_testing.server import Server, running_server

SPACED = "tests.training.space_environments:Spaced-v0"
ENVIRONMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "blackjack": ("Blackjack-v1", {}),
    "nested": (SPACED, {"observes": "nested", "acts": "multidiscrete"}),
    "bits": (SPACED, {"observes": "tuple", "acts": "multibinary"}),
    "levels": (SPACED, {"observes": "scalar", "acts": "box"}),
}
"""By model: a Tuple; a Dict with pixels, integers and texts, whose actions have several components; and others."""
BRIEFLY = [*QUICK, "--total-env-steps", 600, "--eval-every", 300, "--learning-starts", 200, "--replay-capacity", 1000]
EPISODES, SEED = 5, 40

pytestmark = pytest.mark.slow


def train(store: Path, model: str) -> Any:
    """Trains a model briefly and returns its manifest."""
    env_id, kwargs = ENVIRONMENTS[model]
    flags = ["--env-id", env_id, "--env-kwargs", json.dumps(kwargs), "--name", model, "--repository", store]
    divided = ["--discretize", 3] if model == "levels" else []
    return result("dqn-train", *flags, *BRIEFLY, *divided)


def play(model: str, act: Callable[[Any], Any], seed: int) -> float:
    """The return of an episode that is played with the answers of `act`."""
    env_id, kwargs = ENVIRONMENTS[model]
    environment: Any = gymnasium.make(env_id, **kwargs)
    observation, _ = environment.reset(seed=seed)
    total, is_over = 0.0, False
    while not is_over:
        action = np.asarray(act(observation).action, environment.action_space.dtype)[()]
        observation, reward, terminated, truncated, _ = environment.step(action)
        total, is_over = total + float(reward), terminated or truncated
    environment.close()
    return total


def be_old(store: Path, model: str) -> None:
    """Rewrites a version's manifest in schema version 1."""
    path = store / model / "1" / "manifest.json"
    manifest = json.loads(path.read_text()) | {"schema_version": 1}
    for name in ("left_out", "action_mask"):
        manifest["environment"].pop(name)
    path.write_text(json.dumps(manifest))


def check_old(server: Server) -> None:
    """A version of schema version 1 is loaded and answers as before."""
    answer = server.post("/models/cartpole/act", {"observation": [0.1, 0.2, 0.3, 0.4]})
    assert answer.json() == {"action": 1, "model": "cartpole", "version": 1}
    assert server.get("/models/cartpole/versions/1").json()["schema_version"] == 1


def test_every_space_is_played_as_it_was_evaluated(tmp_path: Path) -> None:
    """With requests and a stream, each episode has the return of `dqn-evaluate`; an old version is still served."""
    manifests = {model: train(tmp_path, model) for model in ENVIRONMENTS}
    publish_linear(ModelRepository(tmp_path), promote=True)
    be_old(tmp_path, "cartpole")
    with running_server(ModelRepository(tmp_path), env={"DQN_MODEL": "cartpole"}) as server:
        server.wait_ready()
        check_old(server)
        for model in ENVIRONMENTS:
            flags = ["--repository", tmp_path, "--episodes", EPISODES, "--seed", SEED]
            evaluated = result("dqn-evaluate", model, *flags)["returns"]
            with PolicyClient(server.url, model=model) as client, client.stream(pin=True) as stream:
                for act in (client.act, stream.act):
                    assert [play(model, act, SEED + episode) for episode in range(EPISODES)] == evaluated
                assert stream.observation_space == manifests[model]["environment"]["observation_space"]
                assert stream.action_space == manifests[model]["environment"]["action_space"]
        check_old(server)
