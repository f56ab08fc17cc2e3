"""Export: the ONNX file computes what the network computes, and is the same file each time."""

import dataclasses
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from dqn_models.manifest import EnvironmentInfo
from dqn_models.policy import Policy
from dqn_models.spaces import BoxSpace
from dqn_training.config import DQNConfig
from dqn_training.envs.make import describe
from dqn_training.export.onnx_graph import export, onnx_info
from dqn_training.export.parity import OBSERVATIONS, ParityError, check_parity
from dqn_training.networks.noisy import Noise
from dqn_training.networks.q_network import make_q_network
from dqn_training.run.candidate import observation_statistics

COUNTDOWN = "tests.training.environments:Countdown-v0"
CASES: list[tuple[str, dict[str, Any]]] = [
    ("CartPole-v1", {}),
    ("Acrobot-v1", {}),
    ("FrozenLake-v1", {}),
    (COUNTDOWN, {"space": "box"}),
    (COUNTDOWN, {"space": "image"}),
    (COUNTDOWN, {"space": "discrete"}),
    (COUNTDOWN, {"space": "pixels"}),
    (COUNTDOWN, {"space": "bits"}),
]


def make(env_id: str, kwargs: dict[str, Any], **settings: Any) -> tuple[nn.Sequential, EnvironmentInfo]:
    """A seeded Q-network for an environment."""
    environment = describe(env_id, kwargs)
    torch.manual_seed(3)
    config = dataclasses.replace(DQNConfig(hidden_sizes=(32, 16)), **settings)
    return make_q_network(config, environment.observation_space, environment.action_space), environment


@pytest.mark.parametrize(("env_id", "kwargs"), CASES)
@pytest.mark.parametrize("layer_norm", [True, False])
def test_the_exported_policy_computes_what_the_network_computes(
    env_id: str, kwargs: dict[str, Any], *, layer_norm: bool
) -> None:
    """Parity holds for every kind of observation, and the loaded graph has the inputs that the manifest declares."""
    network, environment = make(env_id, kwargs, layer_norm=layer_norm)
    data = export(network, environment)
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    policy = Policy(data)
    assert (policy.inputs, policy.outputs) == (onnx_info(environment).inputs, onnx_info(environment).outputs)
    seen = environment.observation_space.sample(_something(environment), 500, np.random.default_rng(0))
    check_parity(network, policy, environment, seen, seed=0)


@pytest.mark.parametrize("distribution", ["none", "c51"])
def test_q_values_are_in_the_unit_of_the_rewards(distribution: str) -> None:
    """A network that learned from a hundredth of each reward has the same actions, and 100 times its Q-values."""
    network, environment = make(COUNTDOWN, {"space": "box"}, distribution=distribution)
    learned, published = (Policy(export(network, environment, scale)) for scale in (1.0, 0.01))
    seen = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    (scaled, actions), (q_values, same) = learned.run(seen), published.run(seen)
    np.testing.assert_allclose(q_values, 100 * scaled, rtol=1e-4, atol=1e-4)
    assert (actions == same).all()
    check_parity(network, published, environment, seen, 0, 0.01)
    with pytest.raises(ParityError):
        check_parity(network, published, environment, seen, 0)


MANY: dict[str, Any] = {"space": "discrete", "n": 20_000, "start": 50_000}
FAMILY: list[dict[str, Any]] = [
    {"dueling": True},
    {"noisy": True},
    {"distribution": "c51", "atoms": 11},
    {"distribution": "quantile", "atoms": 7},
    {"distribution": "c51", "dueling": True, "noisy": True, "v_min": 0.0, "v_max": 100.0},
    {"distribution": "quantile", "dueling": True, "layer_norm": False},
    {"dueling": True, "hidden_sizes": (16,)},
]


@pytest.mark.parametrize("settings", FAMILY)
def test_every_member_of_the_family_is_exported_as_expectations(settings: dict[str, Any]) -> None:
    """Whatever the network learns, the graph gives Q-values [batch, n_actions], those of the mean weights."""
    for env_id, kwargs in ((COUNTDOWN, {"space": "image"}), (COUNTDOWN, MANY), ("CartPole-v1", {})):
        network, environment = make(env_id, kwargs, **settings)
        Noise(network, torch.Generator().manual_seed(0))
        data = export(network, environment)
        policy = Policy(data)
        assert policy.outputs == onnx_info(environment).outputs
        seen = environment.observation_space.sample(_something(environment), 500, np.random.default_rng(0))
        check_parity(network, policy, environment, seen, seed=0)


def test_actions_start_where_the_environments_actions_start() -> None:
    """With Discrete(3, start=5) the graph answers 5, 6 or 7; on ties the first."""
    network, environment = make(COUNTDOWN, {})
    actions = Policy(export(network, environment)).act(np.zeros((4, 2), np.float32))
    assert set(actions.tolist()) <= {5, 6, 7}
    last = network[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    assert Policy(export(network, environment)).act(np.zeros((1, 2), np.float32)).tolist() == [5]


@pytest.mark.parametrize("settings", [{}, {"hidden_sizes": (16,), "dueling": True, "noisy": True}])
def test_integers_of_a_large_range_pick_rows_instead_of_multiplying_one_hot_rows(settings: dict[str, Any]) -> None:
    """The graph of Discrete(20000) has a Gather and no OneHot; a warm-up with zeros, which are out of range, works."""
    network, environment = make(COUNTDOWN, MANY, **settings)
    data = export(network, environment)
    operators = [node.op_type for node in onnx.load_from_string(data).graph.node]
    assert "Gather" in operators
    assert "OneHot" not in operators
    Policy(data).warm_up()


def test_integers_of_a_small_range_are_one_hot_rows() -> None:
    """Up to 128 values, multiplying takes no longer."""
    network, environment = make(COUNTDOWN, {"space": "discrete", "n": 128})
    assert "OneHot" in [node.op_type for node in onnx.load_from_string(export(network, environment)).graph.node]


def test_the_same_network_gives_the_same_bytes() -> None:
    """Two exports are byte-identical and contain no path of this machine."""
    network, environment = make("CartPole-v1", {})
    first, second = export(network, environment), export(network, environment)
    assert first == second
    assert b".py" not in first


def test_a_difference_in_q_values_is_an_error() -> None:
    """A network whose weights changed after the export fails the check, with the size of the difference."""
    network, environment = make("CartPole-v1", {})
    policy = Policy(export(network, environment))
    with torch.no_grad():
        next(network.parameters()).mul_(1.01)
    with pytest.raises(ParityError, match="differ from the network's by up to"):
        check_parity(network, policy, environment, np.ones((1, 4), np.float32), seed=0)


def test_random_observations_fill_the_bounds() -> None:
    """Bounded elements are drawn from their whole range, unbounded ones from around those in training."""
    environment = describe("CartPole-v1", {})
    seen = np.random.default_rng(0).normal(0, 2, (100, 4)).astype(np.float32)
    drawn = environment.observation_space.sample(seen, OBSERVATIONS, np.random.default_rng(1))
    assert 4.7 < drawn[:, 0].max() <= 4.8
    assert 4 < drawn[:, 1].std() < 8


def test_random_pixels_fill_the_bounds() -> None:
    """Bytes are drawn from the lowest to the highest, in their own type."""
    space = BoxSpace(shape=[8, 8], dtype="uint8", low=3.0, high=200.0)
    drawn = space.sample(np.zeros((1, 8, 8), np.uint8), 500, np.random.default_rng(1))
    assert (drawn.shape, str(drawn.dtype), drawn.min(), drawn.max()) == ((500, 8, 8), "uint8", 3, 200)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pixels_are_described_together(dtype: type[np.generic]) -> None:
    """Mean, deviation and range over all pixels of all images, whatever their type."""
    seen = np.random.default_rng(1).integers(5, 90, (20, 80, 80), np.uint8).astype(dtype)
    found = observation_statistics(seen)
    assert found.mean == pytest.approx([seen.astype(np.float64).mean()])
    assert found.std == pytest.approx([seen.astype(np.float64).std()])
    assert (found.low, found.high) == ([5.0], [89.0])


def test_a_layer_without_a_counterpart_is_refused() -> None:
    """A layer type that the exporter does not know is named in the error."""
    environment = describe("CartPole-v1", {})
    with pytest.raises(ValueError, match="Layer 0 is a Tanh, which has no ONNX counterpart"):
        export(nn.Sequential(nn.Tanh()), environment)


def _something(environment: EnvironmentInfo) -> np.ndarray[Any, Any]:
    shape = tuple(int(size) for size in onnx_info(environment).inputs[0].shape[1:])
    return np.random.default_rng(5).normal(0, 1, (50, *shape)).astype(np.float32)
