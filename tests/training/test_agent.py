"""The agent's arithmetic, against numbers worked out by hand on a linear Q-network."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dqn_models.spaces import DiscreteSpace
from dqn_training.config import DQNConfig
from dqn_training.learning.adam import Adam
from dqn_training.learning.agent import DQNAgent
from dqn_training.replay.source import Batch


def agent(**changes: Any) -> DQNAgent:
    """Two observations, two actions: Q(s) = s W with W = [[1, 2], [3, 4]] (online), target W = [[10, 5], [1, 7]]."""
    network = nn.Sequential(nn.Linear(2, 2, bias=False))
    settings: dict[str, Any] = {"gradient_clip": "none", "n_step": 1, "policy_weights": "learned", **changes}
    made = DQNAgent(DQNConfig(**settings), network, DiscreteSpace(n=2))
    made.parameters.data.copy_(torch.tensor([1.0, 3.0, 2.0, 4.0]))  # nn.Linear keeps the transpose
    made.target_parameters.copy_(torch.tensor([10.0, 1.0, 5.0, 7.0]))
    return made


def batch(reward: float = 1.0, discount: float = 0.5) -> Batch:
    """One transition: s = e0, a = 0, s' = e0; Q(s, a) = 1, online Q(s') = [1, 2], target Q(s') = [10, 5]."""
    one = np.array([[1.0, 0.0]], np.float32)
    return Batch(
        one, np.array([0]), np.array([reward], np.float32), np.array([discount], np.float32), one, np.array([0])
    )


@pytest.mark.parametrize(
    ("settings", "loss"),
    [
        ({"double_dqn": False, "loss": "squared"}, 25.0),  # target 1 + 0.5 * 10 = 6, error 5
        ({"double_dqn": False, "loss": "huber"}, 4.5),
        ({"double_dqn": True, "loss": "squared"}, 6.25),  # online picks action 1: target 1 + 0.5 * 5 = 3.5
        ({"double_dqn": True, "loss": "huber"}, 2.0),
    ],
)
def test_the_loss_is_that_of_the_td_error(settings: dict[str, Any], loss: float) -> None:
    """DQN and double DQN targets with squared and Huber loss give the numbers worked out by hand."""
    assert float(agent(**settings).update(batch()).losses) == pytest.approx(loss)


def test_a_terminated_transition_does_not_bootstrap() -> None:
    """With discount 0 the target is just the return: error 1 - 3 = -2, Huber 1.5."""
    assert float(agent().update(batch(reward=3.0, discount=0.0)).losses) == pytest.approx(1.5)


def test_soft_update_moves_the_target_by_tau() -> None:
    """After a step the target network is tau of the new Q-network and 1 - tau of itself."""
    made = agent(tau=0.25)
    made.update(batch())
    expected = 0.25 * made.parameters.data + 0.75 * torch.tensor([10.0, 1.0, 5.0, 7.0])
    torch.testing.assert_close(made.target_parameters, expected)


def test_periodic_update_copies_every_so_many_gradient_steps() -> None:
    """With target_update_every 2 the target changes at the second step, and then equals the Q-network."""
    made = agent(target_update="periodic", target_update_every=2)
    made.update(batch())
    torch.testing.assert_close(made.target_parameters, torch.tensor([10.0, 1.0, 5.0, 7.0]))
    made.update(batch())
    torch.testing.assert_close(made.target_parameters, made.parameters.data)


@pytest.mark.parametrize(
    ("clip", "limit", "expected"),
    [
        ("none", 1.0, -10.0),  # squared loss: gradient 2 * (1 - 6) for the one weight that took part
        ("value", 0.5, -0.5),
        ("norm", 2.0, -2.0),
        ("norm", 100.0, -10.0),
    ],
)
def test_gradients_are_clipped_by_value_or_by_norm(clip: str, limit: float, expected: float) -> None:
    """The gradient that the optimiser sees is limited as configured, and left alone below the limit."""
    made = agent(loss="squared", double_dqn=False, gradient_clip=clip, gradient_clip_at=limit)
    made.update(batch())
    gradient = made.parameters.grad
    assert gradient is not None
    torch.testing.assert_close(gradient, torch.tensor([expected, 0.0, 0.0, 0.0]))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "adamw-amsgrad"])
def test_a_flat_step_equals_pytorchs_own_step(optimizer: str) -> None:
    """Twenty updates on the flat parameters give what PyTorch gives on separate ones with the same loss."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
    reference = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
    reference.load_state_dict(network.state_dict())
    decay = 0.0 if optimizer == "adam" else 0.01
    config = DQNConfig(optimizer=optimizer, weight_decay=decay, gradient_clip="none")  # type: ignore[arg-type]
    made = DQNAgent(config, network, DiscreteSpace(n=2))
    kind = torch.optim.Adam if optimizer == "adam" else torch.optim.AdamW
    theirs = kind(reference.parameters(), lr=1e-3, weight_decay=decay, amsgrad=optimizer.endswith("amsgrad"))
    for _ in range(20):
        made.update(batch(discount=0.0))
        theirs.zero_grad()
        q_value = reference(torch.tensor([[1.0, 0.0]]))[:, 0]
        nn.functional.smooth_l1_loss(q_value, torch.ones(1)).backward()  # type: ignore[no-untyped-call]
        theirs.step()
    for mine, other in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "adamw-amsgrad"])
def test_moments_that_have_become_denormal_are_zero(optimizer: str) -> None:
    """The moments of a gradient that was 1e-37 once are 0 a step later; outside, such numbers stay as they are."""
    parameters = nn.Parameter(torch.ones(32))
    adam = Adam(parameters, DQNConfig(optimizer=optimizer))  # type: ignore[arg-type]
    for gradient in (1e-37, 0.0, 0.0, 0.0):
        adam.step(torch.full((32,), gradient))
    assert not adam.state_dict()["_mean"].any()
    assert (torch.full((32,), 1e-38) / 10).all()


def test_the_published_network_is_the_learned_one_or_its_average() -> None:
    """With policy_weights `averaged` the policy network is the target network, else the Q-network."""
    averaged, learned = agent(policy_weights="averaged"), agent()
    assert averaged.policy_network is averaged.target_network
    assert averaged.policy_parameters is averaged.target_parameters
    assert learned.policy_network is learned.q_network


def test_epsilon_is_one_coin_for_each_environment() -> None:
    """With epsilon 0.5 over 10,000 environments about a quarter acts against the greedy action, not all or none."""
    observations = np.tile(np.array([[1.0, 0.0]], np.float32), (10_000, 1))
    actions = agent().act(observations, 0.5, np.random.default_rng(0))
    assert (agent().act(observations, 0.0, np.random.default_rng(0)) == 1).all()
    assert 0.23 < (actions == 0).mean() < 0.27


def test_regression_is_an_update_towards_given_targets() -> None:
    """A target of 3 for Q(s, a) = 1 has the loss, and leads to the weights, of a transition that ends with return 3."""
    made, other = agent(), agent()
    one = batch(reward=3.0, discount=0.0)
    loss = made.regress(one.observations, one.actions, np.array([3.0], np.float32)).losses
    assert float(loss) == float(other.update(one).losses) == pytest.approx(1.5)
    assert torch.equal(made.parameters.data, other.parameters.data)
    q_values = made.q_network(torch.from_numpy(one.observations))
    assert made.values(one.observations).tolist() == q_values.amax(dim=1).tolist()
