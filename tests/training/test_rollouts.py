"""PQN's rollouts: Q(lambda) returns against the recursion and against the sum over n-step returns, in plain loops."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dqn_training.checkpoint.values import Ring
from dqn_training.learning.targets import lambda_returns
from dqn_training.replay.rollouts import Rollouts

GAMMA = 0.9


def made(steps: int, num_envs: int = 1) -> Rollouts:
    """Rollouts of scalar observations, so that an observation can be its own name."""
    return Rollouts(steps, num_envs, (), np.dtype(np.float32))


def feed(rollouts: Rollouts, steps: list[tuple[float, float, str]], first: float = 0.0) -> None:
    """Feeds one environment (observation after the step, reward, '' or 't'erminated or 'c'ut off), from `first` on."""
    observation, alive = first, True
    for following, reward, end in steps:
        ends = np.array([end == "t"]), np.array([end == "c"])
        action = np.array([int(observation) % 2])
        rollouts.add(
            np.array([observation]), action, np.array([reward]), *ends, np.array([following]), np.array([alive])
        )
        observation, alive = following, not end


def value(observations: NDArray[Any]) -> NDArray[np.float32]:
    """A stand-in for max_a Q: three times the observation's name."""
    return (3 * observations).astype(np.float32)


def targets(rollouts: Rollouts, q_lambda: float = 0.65) -> dict[float, float]:
    """The targets of the latest rollout's transitions by observation."""
    rollout = rollouts.latest()
    ended = rollout.terminated | rollout.truncated
    values = value(rollout.next_observations)
    found = lambda_returns(rollout.rewards, values, rollout.terminated, ended, GAMMA, q_lambda)[rollout.alive]
    return dict(zip(rollout.observations[rollout.alive].tolist(), found.tolist(), strict=True))


def by_n_step_returns(rewards: list[float], names: list[float], q_lambda: float, *, bootstraps: bool) -> list[float]:
    """(1 - lambda) sum_n lambda^(n-1) G^(n), the longest with the rest of the weight; `names` are all observations."""
    answers = []
    for start in range(len(rewards)):
        left = len(rewards) - start
        returns = []
        for n in range(1, left + 1):
            total = sum(GAMMA**j * rewards[start + j] for j in range(n))
            if n < left or bootstraps:
                total += GAMMA**n * 3 * names[start + n]
            returns.append(total)
        mixed = sum((1 - q_lambda) * q_lambda**n * one for n, one in enumerate(returns[:-1]))
        answers.append(mixed + q_lambda ** (left - 1) * returns[-1])
    return answers


@pytest.mark.parametrize("q_lambda", [0.0, 0.65, 1.0])
@pytest.mark.parametrize(("end", "bootstraps"), [("", True), ("c", True), ("t", False)])
def test_targets_are_mixtures_of_n_step_returns(q_lambda: float, end: str, *, bootstraps: bool) -> None:
    """A rollout that continues, one cut off by time, and one that terminates: only the last does not bootstrap."""
    rollouts = made(4)
    feed(rollouts, [(1, 5, ""), (2, -1, ""), (3, 2, ""), (7, 4, end)])
    assert rollouts.complete
    expected = by_n_step_returns([5, -1, 2, 4], [0, 1, 2, 3, 7], q_lambda, bootstraps=bootstraps)
    assert list(targets(rollouts, q_lambda).values()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("end", ["t", "c"])
def test_nothing_reaches_over_an_episodes_end_and_the_step_that_resets_is_left_out(end: str) -> None:
    """Two episodes in one rollout have the targets that each has alone; the ignored action between them is not used."""
    rollouts = made(5)
    feed(rollouts, [(1, 5, ""), (2, -1, end), (10, 0, ""), (11, 3, ""), (12, 2, "")])
    first = by_n_step_returns([5, -1], [0, 1, 2], 0.65, bootstraps=end == "c")
    second = by_n_step_returns([3, 2], [10, 11, 12], 0.65, bootstraps=True)
    expected = dict(zip([0, 1, 10, 11], [*first, *second], strict=True))
    assert targets(rollouts) == pytest.approx(expected, rel=1e-5)
    assert rollouts.terminal_fraction() == (0.25 if end == "t" else 0.0)


def test_environments_do_not_mix_and_a_reset_may_come_first() -> None:
    """One environment's end in a rollout's last step makes the first step of the next rollout a reset, for it alone."""
    rollouts = made(2, num_envs=2)
    alive = np.ones(2, bool)
    for step in range(4):
        here = np.array([step, 100 + step], np.float32)
        terminated = np.array([False, step == 1])
        rollouts.add(here, np.zeros(2, np.int64), np.array([1.0, 2.0]), terminated, np.zeros(2, bool), here + 1, alive)
        alive = ~terminated
        if step == 1:
            before = targets(rollouts, 0.5)
            assert before[101] == pytest.approx(2)
    after = targets(rollouts, 0.5)
    assert set(after) == {2, 3, 103}
    assert after[103] == pytest.approx(2 + GAMMA * 3 * 104)
    assert after[2] == pytest.approx(by_n_step_returns([1, 1], [2, 3, 4], 0.5, bootstraps=True)[0])


def test_episodes_that_a_resume_leaves_behind_bootstrap_and_end_there() -> None:
    """After begin_episodes, the step before it counts as cut off, and the new episode has its own targets."""
    rollouts = made(5)
    feed(rollouts, [(1, 5, ""), (2, -1, "")])
    rollouts.begin_episodes(np.array([10.0]))
    feed(rollouts, [(11, 3, ""), (12, 2, "")], first=10)
    first = by_n_step_returns([5, -1], [0, 1, 2], 0.65, bootstraps=True)
    second = by_n_step_returns([3, 2], [10, 11, 12], 0.65, bootstraps=True)
    expected = dict(zip([0, 1, 10, 11], [*first, *second], strict=True))
    assert targets(rollouts) == pytest.approx(expected, rel=1e-5)


def test_what_was_seen_is_some_10_000_observations_of_real_steps() -> None:
    """The ring keeps whole rollouts; a restored ring has everything."""
    rollouts = made(8, num_envs=25)
    for step in range(600):
        here = np.full(25, step, np.float32)
        rollouts.add(here, np.zeros(25, np.int64), np.zeros(25), here % 10 == 9, here < 0, here + 1, here % 10 != 0)
    seen = rollouts.observations()
    assert len(seen) == len(rollouts) == 9_000  # every tenth step only resets
    assert seen.min() == 201
    rings = [part.array for part in rollouts.state_dict().values() if isinstance(part, Ring)]
    assert 10_000 < sum(array.nbytes for array in rings) < 10_000 * (4 + 16)
    other = made(8, num_envs=25)
    other.load_state_dict({name: getattr(part, "array", part) for name, part in rollouts.state_dict().items()})
    for restored, part in zip(other.latest(), rollouts.latest(), strict=True):
        np.testing.assert_array_equal(restored, part)
