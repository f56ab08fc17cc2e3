"""Exploration with hashes as random numbers."""

import numpy as np
import pytest

from dqn_experience.exploration import draw, episode_key, explore, share_of

DECISIONS = 40_000


def test_a_decision_can_be_reproduced_anywhere() -> None:
    """The same salt, model, episode and step give the same action; the values are fixed for all time."""
    key = episode_key("salt", "cartpole", "line3-0917")
    assert [explore(key, step, 0, 0.5, 4) for step in range(50)] == [
        explore(key, step, 0, 0.5, 4) for step in range(50)
    ]
    assert key == 5399890486364941867
    published = [6457827717110365317, 3203168211198807973]  # SplitMix64 with the seed 1234567, as others compute it
    assert [draw(1234567, number) for number in range(2)] == [(bits >> 11) * 2.0**-53 for bits in published]


@pytest.mark.parametrize(("salt", "model", "episode"), [("other", "m", "e"), ("s", "other", "e"), ("s", "m", "other")])
def test_each_part_of_the_name_matters(salt: str, model: str, episode: str) -> None:
    """Another salt, model or episode gives other draws."""
    assert draw(episode_key("s", "m", "e"), 0) != draw(episode_key(salt, model, episode), 0)


@pytest.mark.parametrize("mask", [None, np.array([True, False, True, True, False])])
def test_actions_are_as_likely_as_their_propensities_say(mask: np.ndarray | None) -> None:
    """Over many decisions each allowed action is taken as often as its propensity, and no other."""
    epsilon, greedy, n_actions = 0.3, 2, 5
    counts, propensities = np.zeros(n_actions), np.zeros(n_actions)
    for number in range(DECISIONS // 100):
        key = episode_key("salt", "cartpole", f"episode-{number}")
        for step in range(100):
            action, propensity = explore(key, step, greedy, epsilon, n_actions, mask)
            counts[action] += 1
            propensities[action] = propensity
    allowed = n_actions if mask is None else mask.sum()
    expected = np.full(n_actions, epsilon / allowed) if mask is None else epsilon / allowed * mask
    expected[greedy] += 1 - epsilon
    assert propensities == pytest.approx(expected)
    assert counts / DECISIONS == pytest.approx(expected, abs=4 * (0.25 / DECISIONS) ** 0.5)


def test_draws_are_uniform_and_independent_of_each_other() -> None:
    """Draws of an episode, and first draws of many, fill every hundredth evenly; neighbours do not correlate."""
    key = episode_key("", "m", "e")
    in_one = np.array([draw(key, number) for number in range(DECISIONS)])
    across = np.array([draw(episode_key("", "m", str(number)), 0) for number in range(DECISIONS)])
    shares = np.array([share_of("", "m", str(number)) for number in range(DECISIONS)])
    for values in (in_one, across, shares):
        counts = np.bincount((values * 100).astype(int), minlength=100)
        chi_squared = ((counts - DECISIONS / 100) ** 2 / (DECISIONS / 100)).sum()
        assert chi_squared < 160  # exceeded once in ten thousand times, with 99 degrees of freedom
        assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 4 / DECISIONS**0.5
    assert abs(np.corrcoef(across, shares)[0, 1]) < 4 / DECISIONS**0.5


@pytest.mark.parametrize(("epsilon", "propensity"), [(0.0, 1.0), (1.0, 0.25)])
def test_the_extremes(epsilon: float, propensity: float) -> None:
    """Without exploration the greedy action is certain; with exploration only, all are equally likely."""
    key = episode_key("", "m", "e")
    found = [explore(key, step, 3, epsilon, 4) for step in range(200)]
    assert {each.propensity for each in found} == {propensity}
    assert {each.action for each in found} == ({3} if epsilon == 0.0 else {0, 1, 2, 3})
