"""epsilon, seed, propensity: how actions are drawn, and with what probability."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from dqn_models.spaces import DiscreteSpace
from dqn_serving.inference.exploration import epsilon_greedy
from dqn_testing.server import Server

RIGHT = [0.1, 0.2, 0.3, 0.4]
LEFT = [-0.5, 0.1, -0.3, 0.2]
CHI_SQUARE_3_DF = 21.11  # exceeded by chance with probability 1e-4
CHI_SQUARE_1_DF = 15.14


def act(server: Server, path: str = "/act", **body: Any) -> Any:
    """The answer to a request that must be valid."""
    response = server.post(path, body)
    assert response.status_code == 200, response.text
    return response.json()


def chi_square(actions: list[int], expected: dict[int, float]) -> float:
    """Pearson's statistic of drawn actions against their probabilities."""
    found, total = Counter(actions), len(actions)
    assert set(found) <= set(expected)
    return sum((found[action] - total * share) ** 2 / (total * share) for action, share in expected.items())


def test_epsilon_draws_as_documented(server: Server) -> None:
    """With epsilon 0.4 and 4 actions the greedy one has probability 0.7, each other 0.1, over 6,400 draws."""
    actions = []
    for _ in range(100):
        answer = act(server, "/models/lake/act", observations=[2] * 64, epsilon=0.4)
        actions += answer["actions"]
        for action, propensity in zip(answer["actions"], answer["propensity"], strict=True):
            assert propensity == pytest.approx(0.7 if action == 2 else 0.1)
    assert chi_square(actions, {0: 0.1, 1: 0.1, 2: 0.7, 3: 0.1}) < CHI_SQUARE_3_DF


def test_epsilon_explores_allowed_actions_only(server: Server) -> None:
    """With a mask, epsilon is spread over the allowed actions, and the greedy one is the best of these."""
    mask = [True, False, False, True]
    actions = []
    for _ in range(50):
        answer = act(server, "/models/lake/act", observations=[2] * 64, epsilon=0.5, action_mask=mask)
        actions += answer["actions"]
    assert chi_square(actions, {0: 0.75, 3: 0.25}) < CHI_SQUARE_1_DF


def test_draws_follow_the_distribution() -> None:
    """Over 100,000 direct draws, with a different mask in every row, each action has its probability."""
    generator = np.random.default_rng(3)
    masks = np.array([[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1]], np.bool_)
    rows = np.tile(np.arange(3), 33_334)
    selection = epsilon_greedy(DiscreteSpace(n=4), np.array([0, 2, 3])[rows], masks[rows], 0.3, generator)
    assert selection.propensities is not None
    shares = [{0: 0.775, 1: 0.075, 2: 0.075, 3: 0.075}, {1: 0.15, 2: 0.85}, {3: 1.0}]
    for row, expected in enumerate(shares):
        drawn = selection.indices[rows == row].tolist()
        assert chi_square(drawn, expected) < CHI_SQUARE_3_DF
        for action, propensity in zip(drawn, selection.propensities[rows == row], strict=True):
            assert propensity == pytest.approx(expected[action])


def test_epsilon_zero_is_greedy_and_certain(server: Server) -> None:
    """With epsilon 0 the greedy action is taken, with propensity 1."""
    assert act(server, observation=RIGHT, epsilon=0) == {
        "action": 1,
        "model": "cartpole",
        "version": 1,
        "propensity": 1.0,
    }


def test_epsilon_one_is_uniform(server: Server) -> None:
    """With epsilon 1 every action, including the greedy one, has the same propensity."""
    answer = act(server, "/models/lake/q-values", observation=2, epsilon=1)
    assert answer["propensity"] == 0.25
    assert answer["q_values"] == [0.0, 0.0, 1.0, 0.0]


def test_only_allowed_action_is_certain(server: Server) -> None:
    """If a mask leaves a single action, it is taken with propensity 1, whatever epsilon is."""
    answer = act(server, observation=RIGHT, epsilon=0.7, action_mask=[True, False])
    assert (answer["action"], answer["propensity"]) == (0, 1.0)


def test_no_epsilon_no_propensity(server: Server) -> None:
    """A request without epsilon is greedy, even with a seed, and gets no propensity."""
    assert "propensity" not in act(server, observation=RIGHT, seed=5)
    assert "propensity" not in act(server, observation=RIGHT, action_mask=[True, False])


def test_seed_repeats_the_draw(server: Server) -> None:
    """The same seed gives the same actions, other seeds give others."""
    request = {"observations": [1] * 64, "epsilon": 1.0}
    first, again, other = (act(server, "/models/lake/act", **request, seed=seed)["actions"] for seed in (7, 7, 8))
    assert first == again != other


def test_seed_does_not_depend_on_the_rest_of_the_batch(server: Server) -> None:
    """Row i of a seeded batch draws the same whatever else is in the batch, and row 0 the same as a single request."""
    for seed in range(20):
        options: dict[str, Any] = {"epsilon": 0.5, "seed": seed}
        alone = act(server, observation=RIGHT, **options)
        pair = act(server, observations=[RIGHT, LEFT], **options)
        many = act(server, observations=[RIGHT, LEFT, *[[0, 0, 0, 0]] * 30], **options)
        assert alone["action"] == pair["actions"][0] == many["actions"][0]
        assert pair["actions"] == many["actions"][:2]
        assert pair["propensity"] == many["propensity"][:2]


def test_unseeded_draws_differ(server: Server) -> None:
    """Without a seed two requests draw independently."""
    request = {"observations": [1] * 64, "epsilon": 1.0}
    first, second = (act(server, "/models/lake/act", **request)["actions"] for _ in range(2))
    assert first != second
