"""Actions with too many combinations for one Q-value each: each component is learned separately."""

import itertools
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from dqn_models.policy import Policy
from dqn_models.spaces import MultiDiscreteSpace
from dqn_training.config import DQNConfig
from dqn_training.envs.checks import FaultyEnvironmentError
from dqn_training.envs.make import describe, environment_for, make_described
from dqn_training.envs.spaces import describe_branching
from dqn_training.evaluation.play import RandomPolicy, play
from dqn_training.export.onnx_graph import export, onnx_info
from dqn_training.export.parity import check_parity
from dqn_training.learning.agent import DQNAgent
from dqn_training.learning.loop import train
from dqn_training.learning.state import make_state
from dqn_training.networks.fast import Backpropagation, flatten_parameters
from dqn_training.networks.noisy import Noise
from dqn_training.networks.q_network import make_q_network
from dqn_training.replay.source import Batch
from dqn_training.run.resources import check_machine
from dqn_training.run.run import Run

MATCHING = "tests.training.branching_environments:Matching-v0"
UNEQUAL = (2, 5, 3, 9, 4, 8)
BRIEF: dict[str, Any] = {
    "num_envs": 4,
    "learning_starts": 100,
    "replay_capacity": 2_000,
    "batch_size": 32,
    "hidden_sizes": (32,),
    "eval_every": 500,
    "eval_episodes": 5,
}


def settings(sizes: tuple[int, ...] = (8,) * 6, acts: str = "integers", masks: str = "", **changes: Any) -> DQNConfig:
    """A configuration for the environment."""
    kwargs = {"sizes": sizes, "acts": acts, "masks": masks}
    return DQNConfig(**{**BRIEF, "env_id": MATCHING, "env_kwargs": kwargs, **changes})


def agent(**changes: Any) -> DQNAgent:
    """Two observations, components of two and three values: Q(e0) = [1, 2 | 3, 1, 2], Q(e1) = [0, 1 | 5, 0, 4]; the
    target network's Q(e1) = [7, 3 | 1, 9, 9].
    """
    network = nn.Sequential(nn.Linear(2, 5, bias=False))
    values = {"gradient_clip": "none", "n_step": 1, "policy_weights": "learned", **changes}
    made = DQNAgent(DQNConfig(**values), network, MultiDiscreteSpace(nvec=[2, 3], branching=True))
    online, target = torch.tensor([[1.0, 2, 3, 1, 2], [0, 1, 5, 0, 4]]), torch.tensor([[0.0] * 5, [7, 3, 1, 9, 9]])
    made.parameters.data.copy_(online.t().ravel())  # nn.Linear keeps the transpose
    made.target_parameters.copy_(target.t().ravel())
    return made


@pytest.mark.parametrize(
    ("changes", "mask", "loss", "error"),
    [
        ({"loss": "squared"}, None, 0.5, 1.0),  # values 3 and 1: target 1 + 0.5 * 2, errors -1 and 0
        ({"loss": "huber"}, None, 0.25, 1.0),
        ({"loss": "squared", "double_dqn": False}, None, 12.5, 7.0),  # values 7 and 9: target 5, errors -4 and -3
        ({"loss": "squared"}, [1, 0, 0, 1, 1], 12.5, 7.0),  # the best allowed values are 0 and 2
    ],
)
def test_all_components_have_the_target_of_the_mean(
    changes: dict[str, Any], mask: list[int] | None, loss: float, error: float
) -> None:
    """Loss, priority and masks give the numbers worked out by hand from equation 6 of Tavakoli et al. (2018)."""
    first, second = np.eye(2, dtype=np.float32)
    one = np.ones(1, np.float32)
    masks = None if mask is None else np.array([mask], np.bool_)
    batch = Batch(first[None], np.array([[0, 2]]), one, np.float32(0.5) * one, second[None], np.array([0]), one, masks)
    found = agent(**changes).update(batch)
    assert found.errors is not None
    assert (float(found.losses), float(found.errors)) == pytest.approx((loss, error))


@pytest.mark.parametrize("acts", ["integers", "bits", "levels"])
@pytest.mark.parametrize("changes", [{}, {"dueling": True}, {"noisy": True, "layer_norm": False}], ids=str)
def test_the_exported_policy_computes_what_the_network_computes(acts: str, changes: dict[str, Any]) -> None:
    """Parity holds for every kind of action; each component is the one with its highest Q-value."""
    sizes = {"integers": UNEQUAL, "bits": (2,) * 14, "levels": (5,) * 6}[acts]
    config = settings(sizes, acts, hidden_sizes=(32, 16), discretize=5 if acts == "levels" else None, **changes)
    environment = environment_for(config)
    actions = environment.action_space
    assert (actions.n, actions.branches) == (sum(sizes), sizes)
    torch.manual_seed(3)
    network = make_q_network(config, environment.observation_space, actions)
    Noise(network, torch.Generator().manual_seed(0))
    data = export(network, environment)
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    policy = Policy(data)
    assert (policy.inputs, policy.outputs) == (onnx_info(environment).inputs, onnx_info(environment).outputs)
    generator = np.random.default_rng(0)
    seen = environment.observation_space.sample(np.zeros((1, len(sizes))), 500, generator)
    check_parity(network, policy, environment, seen, seed=0)
    q_values, chosen = policy.run(seen)
    ends = np.cumsum(sizes)
    steps = np.stack([q_values[:, end - size : end].argmax(axis=1) for size, end in zip(sizes, ends, strict=True)], 1)
    assert (chosen == actions.action(steps)).all()
    with_environment = make_described(environment)
    assert all(with_environment.action_space.contains(action) for action in chosen)


@pytest.mark.parametrize("sizes", [UNEQUAL, (8,) * 6], ids=str)
@pytest.mark.parametrize("dueling", [False, True])
def test_gradients_are_those_of_autograd(sizes: tuple[int, ...], *, dueling: bool) -> None:
    """The head's own backward pass gives the gradients that PyTorch's gives, and advantages have the mean 0."""
    config = settings(sizes, hidden_sizes=(16,), dueling=dueling)
    environment = environment_for(config)
    torch.manual_seed(0)
    network = make_q_network(config, environment.observation_space, environment.action_space)
    flat = flatten_parameters(network)
    observations = torch.from_numpy(
        environment.observation_space.sample(np.zeros((1, 6)), 40, np.random.default_rng(0))
    )
    weights = torch.randn(30, sum(sizes))
    (network(observations[:30]) * weights).sum().backward()
    assert flat.grad is not None
    expected = flat.grad.clone()
    flat.grad.zero_()
    with torch.no_grad():
        learning = Backpropagation(list(network))
        outputs = learning.forward(learning.encode(observations), 30)
        learning.backward(weights)
        torch.testing.assert_close(outputs, network(observations))
    torch.testing.assert_close(flat.grad, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("sizes", "acts", "changes"),
    [
        ((8,) * 6, "integers", {}),
        (UNEQUAL, "integers", {"prioritized": True, "n_step": 3, "dueling": True, "layer_norm": False}),
        ((2,) * 14, "bits", {"normalize": True}),
        ((5,) * 6, "levels", {"discretize": 5, "noisy": True}),
        ((8,) * 6, "integers", {"algorithm": "pqn", "rollout_epochs": 12, "policy_weights": "learned"}),
        ((4, 3), "integers", {"branching": "on", "vectorization": "async", "num_envs": 2}),
    ],
    ids=["eights", "unequal", "bits", "levels", "pqn", "few"],
)
def test_what_is_seen_is_matched(sizes: tuple[int, ...], acts: str, changes: dict[str, Any]) -> None:
    """Within 4,000 steps far more components match than by chance, with replay or rollouts and any of these options."""
    said: list[str] = []
    brief = {"total_env_steps": 4_000, "gamma": 0.0, "epsilon_decay_steps": 1_000, "hidden_sizes": (64,), **changes}
    config = settings(sizes, acts, **brief)
    environment = environment_for(config)
    candidate = Run(config, "test", environment, callbacks=[], say=said.append).train()
    assert said.count(describe_branching(environment)) == 1
    assert candidate.random_mean is not None
    chance = 10 * float(np.mean(1 / np.array(sizes)))
    assert candidate.best.mean > chance + 0.4 * (10 - chance)


@pytest.mark.parametrize("masks", ["tuple", "row"])
def test_masks_of_components(masks: str) -> None:
    """Forbidden values are never tried, learned from or played: this environment would raise at the first one."""
    config = settings(masks=masks, total_env_steps=1_000)
    environment = environment_for(config)
    assert environment.action_mask == "info"
    candidate = Run(config, "test", environment, callbacks=[]).train()
    allowed = np.tile(np.arange(8) < 7, 6)[None]
    for player in (candidate.policy, RandomPolicy(environment, 0)):
        assert play(player, environment, 5, 3, 100).env_steps == 30
        row = candidate.environment.observation_space.sample(np.zeros((1, 6)), 20, np.random.default_rng(0))
        assert (player.choose(row, allowed.repeat(20, axis=0), environment.action_space) < 7).all()


def test_a_mask_of_all_combinations_is_refused() -> None:
    """Such a mask says nothing about single components; the sentence says what is expected."""
    environment = describe(MATCHING, {"masks": "joint"})
    made = make_described(environment)
    with pytest.raises(FaultyEnvironmentError, match=r"of shape \[262144\].*one mask for each of the 6 components"):
        made.reset(seed=0)


def test_the_sentence_gives_the_reason() -> None:
    """There are too many combinations, written out or, of very many, roughly; or it was asked for."""
    reasons = {
        "262,144 combinations, more than the 4,096": settings(),
        "about 1e+30 combinations, more than the 4,096": settings((10,) * 30),
        "their one component makes 5,000 combinations, more than the 4,096": settings((5_000,)),
        "12 combinations, and --branching is on": settings((4, 3), branching="on"),
    }
    for reason, config in reasons.items():
        assert reason in describe_branching(environment_for(config))


def test_distributions_are_refused() -> None:
    """The sentence names the flag, the actions and the remedy."""
    for distribution in ("c51", "quantile"):
        config = settings(distribution=distribution)
        with pytest.raises(ValueError, match=rf"distribution is '{distribution}'.*262,144.*--distribution none"):
            check_machine(config, environment_for(config))


def test_random_actions_do_not_follow_the_episode_of_their_seed() -> None:
    """The environment draws the same number of integers of the same sizes, so the same stream would match them all."""
    environment = describe(MATCHING, {})
    returns = [play(RandomPolicy(environment, seed), environment, seed, 1, 100).returns[0] for seed in range(20)]
    assert np.mean(returns) == pytest.approx(10 / 8, abs=0.5)


def test_exploring_draws_each_component_by_itself() -> None:
    """With epsilon 1 all values of all components are tried equally often, in no pattern."""
    config = settings(UNEQUAL, num_envs=64)
    environment = environment_for(config)
    state = make_state(config, environment, None)
    drawn = np.concatenate([state.agent.act(state.observations, 1.0, state.generator) for _ in range(100)])
    state.close()
    for column, size in zip(drawn.T, UNEQUAL, strict=True):
        np.testing.assert_allclose(np.bincount(column, minlength=size) / len(column), 1 / size, atol=0.03)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(6)).max() < 0.05


def test_begun_episodes_and_the_ring_keep_rows_of_indices() -> None:
    """Over several laps of replay, the actions of drawn transitions are those taken for their observations."""
    config = settings(replay_capacity=200, learning_starts=50, batch_size=16, n_step=1)
    environment = environment_for(config)
    state = make_state(config, environment, None)
    taken: dict[bytes, list[Any]] = {}
    for step, current in enumerate(itertools.islice(train(config, environment, state), 150)):
        replay: Any = current.replay
        if step % 50 == 49:
            replay.begin_episodes(current.observations)
            batch = replay.sample(16, np.random.default_rng(step))
            matched = (batch.actions == batch.observations).mean(axis=1)
            np.testing.assert_allclose(matched, batch.returns, atol=1e-6)
            taken[batch.actions.tobytes()] = []
    assert len(taken) == 3
    state.close()
