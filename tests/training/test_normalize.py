"""Normalised observations: statistics from before learning, in both networks, the graph and the weights."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from dqn_models.policy import Policy
from dqn_training.config import DQNConfig
from dqn_training.envs.make import environment_for
from dqn_training.export.onnx_graph import export
from dqn_training.export.parity import check_parity
from dqn_training.learning.loop import train
from dqn_training.learning.state import TrainingState, make_state
from dqn_training.networks.normalize import Normalize

SHORT: dict[str, Any] = {"hidden_sizes": (16,), "batch_size": 16, "learning_starts": 64, "num_envs": 4,
                         "replay_capacity": 2_000, "vectorization": "sync", "normalize": True}  # fmt: skip
SPACED = "tests.training.space_environments:Spaced-v0"


def trained(config: DQNConfig, steps: int, weights: dict[str, torch.Tensor] | None = None) -> TrainingState:
    """A run after this many steps."""
    environment = environment_for(config)
    state = make_state(config, environment, weights)
    for _ in itertools.islice(train(config, environment, state), steps):
        pass
    state.close()
    return state


def layers(network: torch.nn.Module) -> list[Normalize]:
    """The layers that normalize."""
    return [layer for layer in network.modules() if isinstance(layer, Normalize)]


@pytest.mark.parametrize("algorithm", ["dqn", "pqn"])
def test_statistics_are_those_before_the_first_gradient_step(algorithm: Any) -> None:
    """Both networks share them, they do not change while learning, and the exported graph has them."""
    others: dict[str, Any] = {"rollout_steps": 16, "policy_weights": "learned"} if algorithm == "pqn" else {}
    config = DQNConfig("CartPole-v1", **SHORT, algorithm=algorithm, **others)
    environment = environment_for(config)
    state = make_state(config, environment, None)
    (layer,), (target,) = layers(state.agent.q_network), layers(state.agent.target_network)
    steps = train(config, environment, state)
    while state.agent.gradient_steps == 0:
        next(steps)
    seen = state.replay.observations().astype(np.float64)
    for _ in itertools.islice(steps, 100):
        pass
    state.close()
    for each in (layer, target):
        np.testing.assert_allclose(each.mean, seen.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(1 / each.scale, seen.std(axis=0), rtol=1e-5)
    policy = Policy(export(state.agent.policy_network, environment))
    check_parity(state.agent.policy_network, policy, environment, state.replay.observations(), seed=0)


def test_a_warm_start_keeps_its_statistics() -> None:
    """They come with the weights, which fit them."""
    config = DQNConfig("CartPole-v1", **SHORT)
    first = trained(config, 100)
    weights = {name: tensor.clone() for name, tensor in first.agent.policy_network.state_dict().items()}
    warm = trained(config, 150, weights)
    assert warm.agent.gradient_steps > 0
    assert (layers(warm.agent.q_network)[0].mean == layers(first.agent.q_network)[0].mean).all()


def test_numbers_of_each_leaf_are_normalized_and_integers_are_not() -> None:
    """Of several leaves, those that are numbers but not images; constant ones are only shifted."""
    config = DQNConfig(SPACED, env_kwargs={"observes": "nested"}, **SHORT)
    state = trained(config, 100)
    assert [len(layer.mean) for layer in layers(state.agent.q_network)] == [2, 4, 1]
    assert all(layer.mean.abs().sum() > 0 for layer in layers(state.agent.q_network))
    environment = environment_for(config)
    policy = Policy(export(state.agent.policy_network, environment))
    check_parity(state.agent.policy_network, policy, environment, state.replay.observations(), seed=0)
