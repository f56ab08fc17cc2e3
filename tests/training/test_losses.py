"""Targets and losses of the algorithm family, against plain loops in double precision."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dqn_models.spaces import DiscreteSpace
from dqn_training.config import DQNConfig
from dqn_training.learning.agent import DQNAgent
from dqn_training.learning.losses import (
    ActionLoss,
    by_autograd,
    categorical_loss,
    huber,
    of_actions,
    quantile_loss,
    squared,
)
from dqn_training.learning.targets import categorical_target, quantile_target
from dqn_training.networks.heads import CategoricalMean, QuantileMean
from dqn_training.replay.source import Batch

BATCH, ATOMS = 6, 7


def softmax(logits: list[float]) -> list[float]:
    """Probabilities of one row."""
    exponentials = [math.exp(logit) for logit in logits]
    return [one / sum(exponentials) for one in exponentials]


def project(values: list[float], reward: float, discount: float, probabilities: list[float]) -> list[float]:
    """Algorithm 1 of Bellemare et al., 2017, for one transition."""
    spacing = values[1] - values[0]
    projected = [0.0] * len(values)
    for value, probability in zip(values, probabilities, strict=True):
        moved = min(max(reward + discount * value, values[0]), values[-1])
        position = (moved - values[0]) / spacing
        low, high = math.floor(position + 1e-12), math.ceil(position - 1e-12)
        if low == high:
            projected[low] += probability
        else:
            projected[low] += probability * (high - position)
            projected[high] += probability * (position - low)
    return projected


def test_the_categorical_target_is_the_papers_projection() -> None:
    """Inside, beyond both ends, on a value exactly, and terminal: mass is kept and lands where the loops put it."""
    values = torch.linspace(-3, 3, ATOMS)
    returns = torch.tensor([0.25, 9.0, -9.0, 1.0, 0.0, -0.5])
    discounts = torch.tensor([0.9, 0.9, 0.9, 0.0, 1.0, 0.5])
    logits = torch.randn(BATCH, ATOMS, generator=torch.Generator().manual_seed(0))
    target = categorical_target(values, returns, discounts, logits)
    expected = [
        project(values.tolist(), float(r), float(d), softmax(row))
        for r, d, row in zip(returns, discounts, logits.tolist(), strict=True)
    ]
    np.testing.assert_allclose(target.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(target.sum(dim=1).numpy(), np.ones(BATCH), atol=1e-6)


def test_the_categorical_loss_is_the_divergence_with_its_derivative() -> None:
    """Sum of p log(p / q), with 0 log 0 = 0; its derivative is what autograd finds for the cross-entropy."""
    logits = torch.randn(BATCH, ATOMS, generator=torch.Generator().manual_seed(1), requires_grad=True)
    target = torch.rand(BATCH, ATOMS, generator=torch.Generator().manual_seed(2))
    target[0, :] = 0.0
    target[0, 2] = 1.0
    target = target / target.sum(dim=1, keepdim=True)
    losses, derivative = categorical_loss(logits.detach(), target)
    for row, ps, loss in zip(logits.tolist(), target.tolist(), losses.tolist(), strict=True):
        pairs = zip(ps, softmax(row), strict=True)
        assert loss == pytest.approx(sum(p * math.log(p / q) for p, q in pairs if p > 0), abs=1e-5)
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits, target, reduction="sum"), logits)
    torch.testing.assert_close(derivative, gradient)


def test_the_quantile_loss_is_the_papers_double_sum() -> None:
    """Sum over quantiles of the mean over targets of |tau - [u < 0]| huber(u) (Dabney et al., 2018, equation 10)."""
    generator = torch.Generator().manual_seed(3)
    quantiles = torch.randn(BATCH, ATOMS, generator=generator) * 2
    target = quantile_target(torch.randn(BATCH, generator=generator), torch.full((BATCH,), 0.9), quantiles.flip(0))
    losses, derivative = quantile_loss(quantiles, target)
    for thetas, goals, loss in zip(quantiles.tolist(), target.tolist(), losses.tolist(), strict=True):
        total = 0.0
        for index, theta in enumerate(thetas):
            tau = (2 * index + 1) / (2 * ATOMS)
            for goal in goals:
                error = goal - theta
                huber = 0.5 * error**2 if abs(error) <= 1 else abs(error) - 0.5
                total += abs(tau - (error < 0)) * huber / ATOMS
        assert loss == pytest.approx(total, rel=1e-5)
    slopes = torch.zeros(BATCH, ATOMS, dtype=torch.float64)
    for index in range(ATOMS):  # central differences, in double precision
        step = torch.zeros(1, ATOMS, dtype=torch.float64)
        step[0, index] = 1e-6
        above, below = (quantile_loss(quantiles.double() + sign * step, target.double())[0] for sign in (1, -1))
        slopes[:, index] = (above - below) / 2e-6
    torch.testing.assert_close(derivative.double(), slopes, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("action_loss", [huber, squared, quantile_loss])
def test_a_loss_without_a_derivative_gets_it_by_autograd(action_loss: ActionLoss) -> None:
    """With only the losses, autograd over the outputs finds the same derivative."""
    generator = torch.Generator().manual_seed(4)
    shape = (BATCH, 3, ATOMS) if action_loss is quantile_loss else (BATCH, 3)
    outputs, target = torch.randn(shape, generator=generator) * 2, torch.randn((BATCH, *shape[2:]), generator=generator)
    actions = torch.randint(0, 3, (BATCH,), generator=generator)
    by_hand, automatic = of_actions(action_loss), by_autograd(lambda *given: taken_losses(action_loss, *given))
    with torch.no_grad():
        for found, expected in zip(automatic(outputs, actions, target), by_hand(outputs, actions, target), strict=True):
            torch.testing.assert_close(found, expected)


def taken_losses(action_loss: ActionLoss, outputs: Tensor, actions: Tensor, target: Tensor) -> Tensor:
    """The losses with operations that autograd can follow: ours overwrite their intermediate values."""
    taken = outputs[torch.arange(len(actions)), actions]
    if action_loss is squared:
        return (taken - target) ** 2
    if action_loss is huber:
        return nn.functional.smooth_l1_loss(taken, target, reduction="none")
    levels = (torch.arange(ATOMS) + 0.5) / ATOMS
    differences = target.unsqueeze(1) - taken.unsqueeze(2)
    weights = (levels.unsqueeze(1) - (differences < 0).float()).abs()
    by_pair = nn.functional.huber_loss(differences, torch.zeros_like(differences), reduction="none")
    return (weights * by_pair).sum(dim=(1, 2)) / ATOMS


def test_a_loss_may_depend_on_the_outputs_for_all_actions() -> None:
    """Conservative Q-learning (Kumar et al., 2020) pushes down every action but the one in the data."""
    outputs, actions = torch.randn(BATCH, 3, generator=torch.Generator().manual_seed(5)), torch.arange(BATCH) % 3
    rows = torch.arange(BATCH)
    conservative = by_autograd(lambda outputs, actions, _: outputs.logsumexp(dim=1) - outputs[rows, actions])
    losses, derivative = conservative(outputs, actions, torch.zeros(BATCH))
    expected = outputs.softmax(dim=1)
    expected[rows, actions] -= 1
    torch.testing.assert_close(losses, -outputs.log_softmax(dim=1)[rows, actions])
    torch.testing.assert_close(derivative, expected)


def test_a_loss_may_have_an_action_for_each_of_several_branches() -> None:
    """Action branching (Tavakoli et al., 2018): outputs [batch, branches, n_actions], an action and target for each."""
    outputs, target = torch.zeros(2, 2, 3), torch.tensor([[1.0, -1.0], [0.5, 0.0]])
    actions = torch.tensor([[0, 2], [1, 1]])
    branches = by_autograd(
        lambda outputs, actions, target: ((outputs.gather(2, actions.unsqueeze(2)).squeeze(2) - target) ** 2).mean(1)
    )
    losses, derivative = branches(outputs, actions, target)
    assert losses.tolist() == [1.0, 0.125]
    assert derivative[0].tolist() == [[-1, 0, 0], [0, 0, 1]]


def test_quantile_regression_finds_the_quantiles() -> None:
    """Descending the loss on samples 0 to 99 ends near their quantiles, not at their mean."""
    quantiles = torch.zeros(1, 5, requires_grad=True)
    samples = torch.arange(100.0).unsqueeze(0)
    optimizer = torch.optim.Adam([quantiles], lr=1.0)
    for _ in range(400):
        quantiles.grad = quantile_loss(quantiles.detach(), samples)[1]
        optimizer.step()
    np.testing.assert_allclose(quantiles.detach().numpy()[0], [10, 30, 50, 70, 90], atol=2)


def weighted(loss: str, distribution: str) -> tuple[DQNAgent, Batch]:
    """A small agent and a batch drawn by priority, with weights."""
    torch.manual_seed(0)
    config = DQNConfig(
        loss=loss,  # type: ignore[arg-type]
        distribution=distribution,  # type: ignore[arg-type]
        atoms=ATOMS,
        gradient_clip="none",
        prioritized=True,
    )
    layers: dict[str, Any] = {
        "none": [nn.Linear(3, 2)],
        "c51": [nn.Sequential(nn.Linear(3, 2 * ATOMS), nn.Unflatten(1, (2, ATOMS)))],
        "quantile": [nn.Sequential(nn.Linear(3, 2 * ATOMS), nn.Unflatten(1, (2, ATOMS)))],
    }
    last: dict[str, list[nn.Module]] = {
        "none": [],
        "c51": [CategoricalMean(-10, 10, ATOMS)],
        "quantile": [QuantileMean()],
    }
    made = DQNAgent(config, nn.Sequential(*layers[distribution], *last[distribution]), DiscreteSpace(n=2))
    generator = np.random.default_rng(1)
    observations = generator.normal(size=(2, BATCH, 3)).astype(np.float32)
    returns = generator.normal(size=BATCH).astype(np.float32) * 4
    weights = generator.random(BATCH).astype(np.float32)
    actions, rows = generator.integers(0, 2, BATCH), np.arange(BATCH)
    discounts = np.full(BATCH, 0.9, np.float32)
    return made, Batch(observations[0], actions, returns, discounts, observations[1], rows, weights)


@pytest.mark.parametrize(
    ("loss", "distribution"), [("huber", "none"), ("squared", "none"), ("huber", "c51"), ("huber", "quantile")]
)
def test_importance_weights_reach_every_loss(loss: str, distribution: str) -> None:
    """The gradient of a weighted batch is the weighted mean of the gradients of its transitions, one after another."""
    made, batch = weighted(loss, distribution)
    before = made.parameters.data.clone()
    assert batch.weights is not None
    total = torch.zeros_like(before)
    for index, weight in enumerate(batch.weights):
        alone, _ = weighted(loss, distribution)
        one = {name: part[index : index + 1] for name, part in batch._asdict().items() if part is not None}
        alone.update(Batch(**one)._replace(weights=np.ones(1, np.float32)))
        total += float(weight) * gradient(alone) / BATCH
    made.update(batch)
    torch.testing.assert_close(gradient(made), total, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("distribution", ["none", "c51", "quantile"])
def test_errors_for_priorities_do_not_depend_on_the_weights(distribution: str) -> None:
    """They are |td_error| or the distributional loss, from before the step; without weights there are none."""
    made, batch = weighted("huber", distribution)
    errors = made.update(batch).errors
    again, _ = weighted("huber", distribution)
    assert batch.weights is not None
    others = again.update(batch._replace(weights=batch.weights * 0.5)).errors
    assert errors is not None
    assert others is not None
    assert errors.shape == (BATCH,)
    assert (errors >= 0).all()
    torch.testing.assert_close(errors, others)
    assert made.update(batch._replace(weights=None)).errors is None


def test_double_c51_takes_the_targets_distribution_of_the_online_choice() -> None:
    """The Q-network's expectations choose the next action, the target network's distribution of it is projected."""
    made, batch = weighted("huber", "c51")
    made.target_parameters.copy_(torch.randn(made.target_parameters.shape, generator=torch.Generator().manual_seed(9)))
    values, head = torch.linspace(-10, 10, ATOMS), made.target_network[0]
    following = torch.from_numpy(batch.next_observations)
    chosen = made.q_network(following).argmax(dim=1)
    logits = head(following)[torch.arange(BATCH), chosen].detach()
    target = categorical_target(values, torch.from_numpy(batch.returns), torch.from_numpy(batch.discounts), logits)
    online = made.q_network[0](torch.from_numpy(batch.observations))
    expected = categorical_loss(online[torch.arange(BATCH), torch.from_numpy(batch.actions)].detach(), target)[0]
    errors = made.update(batch).errors
    assert errors is not None
    torch.testing.assert_close(errors, expected)


def gradient(agent: DQNAgent) -> Tensor:
    """The latest gradient of all parameters."""
    assert agent.parameters.grad is not None
    return agent.parameters.grad.clone()
