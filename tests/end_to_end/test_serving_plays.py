"""CartPole played through HTTP is CartPole played by the ONNX file."""

from pathlib import Path

import gymnasium
import httpx
import numpy as np
import pytest

from dqn_models.policy import Policy
from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_linear
from dqn_testing.server import running_server

EPISODES = 4


def play(policy: Policy, client: httpx.Client, seed: int) -> int:
    """Plays one episode with the server's actions, each of which must be the file's; returns its length."""
    environment = gymnasium.make("CartPole-v1")
    observation, _ = environment.reset(seed=seed)
    steps, is_over = 0, False
    while not is_over:
        answer = client.post("/act", json={"observation": observation.tolist()}).json()
        assert answer["action"] == int(policy.act(observation[None].astype(np.float32))[0])
        observation, _, terminated, truncated, _ = environment.step(answer["action"])
        steps, is_over = steps + 1, terminated or truncated
    environment.close()
    return steps


@pytest.mark.slow
def test_episodes_over_http_are_those_of_the_file(tmp_path: Path) -> None:
    """In every episode each action from POST /act is the one that the ONNX file gives locally."""
    store = ModelRepository(tmp_path / "store")
    publish_linear(store, promote=True)
    policy = store.load_policy("cartpole", 1)
    with running_server(store) as server:
        server.wait_ready()
        with httpx.Client(base_url=server.url) as client:
            lengths = [play(policy, client, seed) for seed in range(EPISODES)]
        assert server.metric("dqn_actions_total") == sum(lengths)
