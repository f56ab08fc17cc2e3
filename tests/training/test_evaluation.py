"""Evaluation: fixed episodes by seed, played to the end, and the same for everyone."""

from typing import Any

import gymnasium
import numpy as np
import pytest

from dqn_models.policy import Policy
from dqn_testing.repositories import discrete_onnx, linear_onnx
from dqn_training.envs.make import describe
from dqn_training.evaluation.gate import Incumbent, judge
from dqn_training.evaluation.play import play, summarize
from dqn_training.evaluation.statistics import mean_interval
from dqn_training.seeds import Purpose, first_seed

ANGLE_ONLY = np.array([[0, 0], [0, 0], [0, 1], [0, 0]], np.float32)  # a poor policy: episodes of many lengths


def test_a_native_environment_plays_one_episode_in_each_slot() -> None:
    """Returns and lengths agree on CartPole, whose reward is 1 a step, for more episodes than there are slots."""
    episodes = play(Policy(linear_onnx(ANGLE_ONLY)), describe("CartPole-v1", {}), 7, 1_100, 27_000)
    assert len(episodes.returns) == 1_100
    assert (episodes.returns == episodes.lengths).all()
    assert episodes.lengths.max() <= 500


def test_the_same_seeds_give_the_same_episodes() -> None:
    """Playing twice gives the same returns; other seeds give others."""
    policy, environment = Policy(linear_onnx(ANGLE_ONLY)), describe("CartPole-v1", {})
    first = play(policy, environment, 0, 50, 500).returns
    assert (first == play(policy, environment, 0, 50, 500).returns).all()
    assert (first != play(policy, environment, 1_000, 50, 500).returns).any()


def test_single_environments_play_each_seed_to_its_end() -> None:
    """Over more episodes than slots, every return is that of a single environment with the same seed."""
    policy, environment = Policy(discrete_onnx(16, 4)), describe("FrozenLake-v1", {"is_slippery": True})
    episodes = play(policy, environment, 40, 70, 1_000)
    alone: gymnasium.Env[Any, Any] = gymnasium.make("FrozenLake-v1", is_slippery=True)
    for index in range(70):
        observation, _ = alone.reset(seed=40 + index)
        total, length, over = 0.0, 0, False
        while not over:
            action = int(policy.act(np.array([observation]))[0])
            observation, reward, terminated, truncated, _ = alone.step(action)
            total, length, over = total + float(reward), length + 1, terminated or truncated
        assert (episodes.returns[index], episodes.lengths[index]) == (total, length)


def test_an_endless_episode_is_cut() -> None:
    """The step limit ends an episode that the environment does not end."""
    episodes = play(Policy(linear_onnx()), describe("CartPole-v1", {}), 0, 5, 3)
    assert episodes.lengths.tolist() == [3] * 5


def test_the_summary_is_the_arithmetic_of_the_returns() -> None:
    """Mean, deviation and extremes are NumPy's, and the interval contains the mean."""
    policy, environment = Policy(linear_onnx(ANGLE_ONLY)), describe("CartPole-v1", {})
    episodes = play(policy, environment, 0, 200, 500)
    summary = summarize(episodes, 0)
    assert summary.mean == pytest.approx(episodes.returns.mean())
    assert summary.std == pytest.approx(episodes.returns.std())
    assert (summary.min, summary.max) == (episodes.returns.min(), episodes.returns.max())
    assert summary.ci95[0] <= summary.mean <= summary.ci95[1]


def test_seed_sets_do_not_meet() -> None:
    """Training, checkpoint selection, the gate and the test evaluation use disjoint seeds, for every run's seed."""
    purposes: tuple[Purpose, ...] = ("train", "selection", "gate", "test")
    sets = [{first_seed(purpose, run) for run in range(20_000)} for purpose in purposes]
    spans = [(min(found), max(found) + 99_999) for found in sets]
    assert all(low > high for (low, _), (_, high) in zip(spans[1:], spans[:-1], strict=True))
    assert spans[-1][1] < 2**31


def test_the_bootstrap_interval_is_as_wide_as_theory_says() -> None:
    """For 1,000 normal values the 95 % interval is close to mean +- 1.96 standard errors, and repeatable."""
    values = np.random.default_rng(0).normal(10, 3, 1_000)
    low, high = mean_interval(values)
    half = 1.96 * values.std() / np.sqrt(1_000)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
    assert mean_interval(values) == (low, high)


@pytest.mark.parametrize(
    ("difference", "champion", "rule", "decision"),
    [
        (0.0, 500.0, "non-inferior", "promoted"),
        (-4.9, 500.0, "non-inferior", "promoted"),  # within 1 %
        (-5.1, 500.0, "non-inferior", "kept"),
        (-0.7, -80.0, "non-inferior", "promoted"),  # 1 % of a negative mean counts as much
        (-0.9, -80.0, "non-inferior", "kept"),
        (0.0, 0.0, "non-inferior", "promoted"),  # an equal one, where 1 % is nothing
        (-0.1, 0.0, "non-inferior", "kept"),
        (0.0, 0.0, "superior", "kept"),
        (0.0, 500.0, "superior", "kept"),
        (0.1, 500.0, "superior", "promoted"),
    ],
)
def test_the_gate_follows_its_rule(difference: float, champion: float, rule: Any, decision: str) -> None:
    """With a constant difference the interval is that difference, so that each rule's threshold shows exactly."""
    returns = np.full(50, champion)
    result = judge(returns + difference, Incumbent(3, returns), None, rule)
    assert result.decision == decision
    assert result.statistics["difference_low"] == pytest.approx(difference)
    assert result.champion_version == 3
    assert rule in result.reason
    assert "-0.00" not in result.reason


@pytest.mark.parametrize(
    ("champion", "worse", "fewest", "most"), [(0.73, 0.0, 25, 40), (0.73, 0.09, 0, 4), (0.0, 0.0, 40, 40)]
)
def test_the_gate_can_tell_returns_of_0_and_1_apart(champion: float, worse: float, fewest: int, most: int) -> None:
    """Over 400 episodes an equally good policy mostly passes, and one that is worse by the margin hardly ever does."""
    generator = np.random.default_rng(0)
    promoted = 0
    for _ in range(40):
        before, now = ((generator.random(400) < chance).astype(np.float64) for chance in (champion, champion - worse))
        promoted += judge(now, Incumbent(1, before), None, "non-inferior").decision == "promoted"
    assert fewest <= promoted <= most


def test_the_margin_is_not_widened_by_the_candidates_own_spread() -> None:
    """A candidate that fails now and then is not equal to a champion that never does."""
    champion, candidate = np.full(400, 500.0), np.full(400, 500.0)
    candidate[::20] = 0.0
    assert judge(candidate, Incumbent(1, champion), None, "non-inferior").decision == "kept"


def test_the_gate_pairs_episodes() -> None:
    """A small but constant advantage on very different start states is detected, because differences are paired."""
    champion = np.random.default_rng(0).normal(100, 50, 200)
    incumbent = Incumbent(1, champion)
    assert judge(champion + 1, incumbent, None, "superior").decision == "promoted"
    shuffled = np.random.default_rng(1).permutation(champion + 1)
    assert judge(shuffled, incumbent, None, "superior").decision == "kept"


def test_versions_that_are_each_barely_worse_do_not_creep_down() -> None:
    """Of candidates each half a per cent worse than the champion, those within 1 % of the best are promoted."""
    best = champion = Incumbent(1, np.full(50, 500.0))
    for version in range(2, 12):
        candidate = champion.returns - 2.5
        other = None if best.version == champion.version else best
        result = judge(candidate, champion, other, "non-inferior")
        assert result.decision == ("promoted" if version == 2 else "kept")
        if result.decision == "promoted":
            champion = Incumbent(version, candidate)
        else:
            assert "The best version so far, 1, has 500.00" in result.reason
            assert (result.statistics["best_version"], result.statistics["best_difference_low"]) == (1, -5.0)
    assert champion.returns.mean() > 0.99 * best.returns.mean()
