"""An environment with 262,144 joint actions through every command: trained, evaluated, served, played and retrained."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import httpx
import numpy as np
import pytest

from dqn_client import PolicyClient, RequestRefusedError
from dqn_models.repository import ModelRepository
from dqn_testing.commands import result, run
from dqn_testing.server import Server, running_server

MATCHING = "tests.training.branching_environments:Matching-v0"
BRIEF = [
    "--gamma=0.5",
    "--reward-scale=6",
    "--eval-every=1500",
    "--eval-episodes=20",
    "--report-episodes=50",
    "--gate-episodes=50",
    "--hidden-sizes",
    64,
]
EPISODES, SEED = 5, 40

pytestmark = pytest.mark.slow


def train(store: Path, model: str, *flags: object, **kwargs: Any) -> Any:
    """Trains a model and returns its manifest."""
    where = ["--env-id", MATCHING, "--env-kwargs", json.dumps(kwargs), "--name", model, "--repository", store]
    return result("dqn-train", *where, *BRIEF, *flags)


def play(act: Callable[..., Any], seed: int, **kwargs: Any) -> float:
    """The return of an episode that is played with the answers of `act`, with masks if the environment has them."""
    environment: Any = gymnasium.make(MATCHING, **kwargs)
    observation, info = environment.reset(seed=seed)
    total, is_over = 0.0, False
    while not is_over:
        masked = {"action_mask": info["action_mask"]} if "action_mask" in info else {}
        action = np.asarray(act(observation, **masked).action, environment.action_space.dtype)
        observation, reward, terminated, truncated, info = environment.step(action)
        total, is_over = total + float(reward), terminated or truncated
    environment.close()
    return total


def infer(server: Server, model: str, observation: Any) -> dict[str, Any]:
    """The outputs of the standard protocol by name, each in its shape."""
    tensor = {"name": "observation", "shape": [1, len(observation)], "datatype": "INT64", "data": observation.tolist()}
    outputs = server.post(f"/v2/models/{model}/infer", {"inputs": [tensor]}).json()["outputs"]
    return {output["name"]: np.reshape(output["data"], output["shape"]) for output in outputs}


def returns(store: Path, model: str) -> list[float]:
    """The returns that `dqn-evaluate` finds for the episodes that are played here."""
    flags = ["--repository", store, "--episodes", EPISODES, "--seed", SEED]
    found: list[float] = result("dqn-evaluate", model, *flags)["returns"]
    return found


def test_actions_that_branch_go_through_all_commands(tmp_path: Path) -> None:
    """A run learns to play far above chance and says why it branches; the served policy plays as evaluated."""
    flags = ["--env-id", MATCHING, "--name", "many", "--repository", tmp_path, "--total-env-steps=4000", *BRIEF]
    output = run("dqn-train", *flags, "--json")
    assert output.returncode == 0, output.stderr
    assert output.stderr.count("Actions branch: their 6 components make 262,144 combinations") == 1
    manifest = json.loads(output.stdout)
    assert manifest["environment"]["action_space"]["branching"] is True
    evaluation = manifest["evaluation"]
    assert evaluation["random_mean"] == pytest.approx(10 / 8, abs=0.3)
    assert evaluation["ci95"][0] > 3 * evaluation["random_mean"]
    judged = returns(tmp_path, "many")
    film = ["--video", tmp_path / "many.mp4", "--video-episodes", 2, "--seed", SEED, "--episodes", 2]
    filmed = result("dqn-evaluate", "many", "--repository", tmp_path, *film)
    assert filmed["video"]["returns"] == filmed["returns"] == judged[:2]
    with running_server(ModelRepository(tmp_path), env={"DQN_MODEL": "many"}) as server:
        server.wait_ready()
        with PolicyClient(server.url) as client, client.stream(pin=True) as stream:
            for act in (client.act, stream.act):
                assert [play(act, SEED + episode) for episode in range(EPISODES)] == judged
            observation = np.arange(6)
            answer, outputs = client.q_values(observation), infer(server, "many", observation)
        assert (outputs["action"].shape, outputs["q_values"].shape) == ((1, 6), (1, 48))
        assert outputs["action"].tolist() == [list(answer.action)]
        np.testing.assert_allclose(outputs["q_values"][0], answer.q_values, rtol=1e-5)
        best = np.reshape(answer.q_values, (6, 8)).argmax(axis=1)
        assert (best + np.arange(6)).tolist() == list(answer.action)
    round_flags = ["--name", "many", "--repository", tmp_path, "--total-env-steps=4000"]
    outcome = result("dqn-retrain", "--once", *round_flags, *BRIEF)
    assert (outcome["decision"], outcome["challenger_version"], outcome["champion_version"]) == ("promoted", 2, 1)
    assert outcome["statistics"]["difference_low"] > 0
    manifests = [ModelRepository(tmp_path).manifest("many", version) for version in (1, 2)]
    assert manifests[0].environment == manifests[1].environment


@pytest.mark.parametrize("masks", ["tuple", "row"])
def test_masks_of_components_are_served_as_they_were_evaluated(tmp_path: Path, masks: str) -> None:
    """An environment that raises at a forbidden value can be trained; clients must send its masks, unchanged."""
    manifest = train(tmp_path, "masked", "--total-env-steps=1500", masks=masks)
    assert manifest["environment"]["action_mask"] == "info"
    judged = returns(tmp_path, "masked")
    with running_server(ModelRepository(tmp_path), env={"DQN_MODEL": "masked"}) as server:
        server.wait_ready()
        with PolicyClient(server.url) as client, client.stream() as stream:
            for act in (client.act, stream.act):
                assert [play(act, SEED + episode, masks=masks) for episode in range(EPISODES)] == judged
            with pytest.raises(RequestRefusedError, match="a list of 48 booleans"):
                client.act(np.arange(6))
            spaces = client.model().spaces
            assert spaces is not None
            assert (spaces["n_actions"], len(spaces["example_action_mask"])) == (48, 48)
        tensors = httpx.get(f"{server.url}/v2/models/masked").json()["inputs"]
        assert [-1, 48] in [tensor["shape"] for tensor in tensors if tensor["name"] == "action_mask"]


def test_continuous_actions_of_many_elements(tmp_path: Path) -> None:
    """--discretize 5 of six elements branches: actions are floats in the shape of the Box, played as evaluated."""
    sizes: Any = {"sizes": [5] * 6, "acts": "levels"}
    manifest = train(tmp_path, "levels", "--discretize", 5, "--total-env-steps=3000", **sizes)
    assert manifest["environment"]["action_space"]["branching"] is True
    assert manifest["evaluation"]["ci95"][0] > 2 * manifest["evaluation"]["random_mean"]
    judged = returns(tmp_path, "levels")
    with running_server(ModelRepository(tmp_path), env={"DQN_MODEL": "levels"}) as server:
        server.wait_ready()
        with PolicyClient(server.url) as client:
            assert [play(client.act, SEED + episode, **sizes) for episode in range(EPISODES)] == judged


def test_what_cannot_branch_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """Distributions cannot be learned by component; the sentence names the flag and the remedy."""
    refused = run("dqn-train", "--env-id", MATCHING, "--repository", tmp_path, "--preset", "rainbow")
    assert refused.returncode == 2
    assert "distribution is 'c51'" in refused.stderr
    assert "--distribution none" in refused.stderr
