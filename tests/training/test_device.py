"""Devices: which one is chosen, and that arrays and tensors are moved only explicitly."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from dqn_models.spaces import DiscreteSpace
from dqn_training.config import DQNConfig
from dqn_training.envs.make import describe
from dqn_training.learning.agent import DQNAgent
from dqn_training.networks.q_network import choose_device, make_q_network
from dqn_training.replay.source import Batch
from dqn_training.run.resources import available_bytes, check_device, check_machine

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
with_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@without_gpu
def test_a_missing_gpu_is_refused() -> None:
    """`cuda` without a device is an error with the remedy; auto and cpu are not."""
    with pytest.raises(ValueError, match=r"device is 'cuda', but torch .* finds no CUDA device.*; use auto or cpu"):
        check_device(DQNConfig(device="cuda"))
    check_device(DQNConfig(device="auto"))
    check_device(DQNConfig(device="cpu"))


def test_auto_is_a_gpu_only_for_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is a GPU, `auto` uses it for images and the CPU for a multilayer perceptron."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    dense, convolutional = torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1))
    assert choose_device(DQNConfig(), dense).type == "cpu"
    assert choose_device(DQNConfig(), convolutional).type == "cuda"
    assert choose_device(DQNConfig(device="cpu"), convolutional).type == "cpu"
    assert choose_device(DQNConfig(device="cuda"), dense).type == "cuda"


@with_gpu
@pytest.mark.parametrize("distribution", ["none", "c51", "quantile"])
def test_an_update_on_the_gpu_is_that_on_the_cpu(distribution: str) -> None:
    """The same agent and batch give the same losses and weights, up to rounding."""
    from tests.training.test_losses import weighted

    made, batch = weighted("huber", distribution)
    again, _ = weighted("huber", distribution)
    moved = DQNAgent(dataclasses.replace(again.config, device="cuda"), again.q_network, DiscreteSpace(n=2))
    first, second = made.update(batch), moved.update(batch)
    assert second.losses.is_cuda
    torch.testing.assert_close(second.losses.cpu(), first.losses)
    torch.testing.assert_close(moved.parameters.data.cpu(), made.parameters.data)
    assert moved.act(batch.observations, 0.0, np.random.default_rng(0)).shape == (len(batch.observations),)


def test_a_replay_buffer_beyond_the_free_memory_is_refused() -> None:
    """The sentence says what is needed, what there is, and how many transitions fit; PQN needs no buffer."""
    environment = describe("CartPole-v1", {})
    free = available_bytes()
    assert 0 < free < 1 << 50
    check_machine(DQNConfig(), environment)
    with pytest.raises(ValueError, match=r"replay_capacity is \d+; at up to 31 bytes each, .* Use at most \d+\."):
        check_machine(DQNConfig(replay_capacity=free // 16), environment)
    check_machine(DQNConfig(replay_capacity=free // 16, algorithm="pqn"), environment)


@pytest.mark.parametrize(
    ("n", "width", "words"),
    [
        (
            5_000_000,
            128,
            r"hidden_sizes is \(128,\); .* 640,000,515 parameters.* ONNX file would have 2.6 GB; .* limit is 2.1 GB",
        ),
        (1_000_000, 500, r"hidden_sizes is \(500,\); .* at least 18.0 GB, but this machine has 8.0 GB of free memory"),
    ],
)
def test_a_network_beyond_the_free_memory_or_an_onnx_file_is_refused(
    monkeypatch: pytest.MonkeyPatch, n: int, width: int, words: str
) -> None:
    """The sentence says how large it is, what there is, and what to make smaller; nothing was allocated before."""
    monkeypatch.setattr("dqn_training.run.resources.available_bytes", lambda: 8_000_000_000)
    environment = describe("tests.training.environments:Countdown-v0", {"space": "discrete", "n": n})
    check_machine(DQNConfig(hidden_sizes=(8,), layer_norm=False), environment)
    with pytest.raises(ValueError, match=words):
        check_machine(DQNConfig(hidden_sizes=(width,), layer_norm=False), environment)


@pytest.mark.parametrize("distribution", ["none", "c51", "quantile"])
@pytest.mark.parametrize("settings", [{}, {"dueling": True, "noisy": True}])
def test_an_update_leaves_no_tensor_behind_on_the_cpu(distribution: str, settings: dict[str, Any]) -> None:
    """On PyTorch's `meta` device, which has shapes but no numbers, whatever was not moved there would be an error."""
    environment = describe("CartPole-v1", {})
    config = DQNConfig(hidden_sizes=(8,), distribution=distribution, prioritized=True, **settings)  # type: ignore[arg-type]
    agent = DQNAgent(
        dataclasses.replace(config, device="meta"),  # type: ignore[arg-type]
        make_q_network(config, environment.observation_space, DiscreteSpace(n=2)),
        DiscreteSpace(n=2),
    )
    rows, ones = np.arange(4), np.ones(4, np.float32)
    observations = np.ones((4, 4), np.float32)
    learned = agent.update(Batch(observations, rows % 2, ones, ones, observations, rows, ones))
    assert learned.errors is not None
    assert learned.losses.is_meta
    assert learned.errors.is_meta
    assert agent.state_dict()["_noise"]["values"].is_meta
