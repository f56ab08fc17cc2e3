"""Replay: which transitions are stored, with which n-step returns, by hand-computed numbers."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dqn_models.spaces import DiscreteSpace
from dqn_training.replay.buffer import ReplayBuffer

GAMMA = 0.5


def buffer(n_step: int, num_envs: int = 1, capacity: int = 100) -> ReplayBuffer:
    """A buffer of scalar observations, so that an observation can be its own name."""
    return ReplayBuffer(capacity, num_envs, (), np.dtype(np.float32), DiscreteSpace(n=2), n_step, GAMMA)


def feed(replay: ReplayBuffer, steps: list[tuple[float, float, str]], first: float = 0.0) -> None:
    """Feeds one environment (observation after the step, reward, '' or 't'erminated or 'c'ut off), from `first` on."""
    observation, alive = first, True
    for following, reward, end in steps:
        replay.add(
            np.array([observation]),
            np.array([int(observation) % 2]),
            np.array([reward]),
            np.array([end == "t"]),
            np.array([end == "c"]),
            np.array([following]),
            np.array([alive]),
        )
        observation, alive = following, not end


def transitions(replay: ReplayBuffer) -> dict[float, tuple[float, float, float]]:
    """All that can be sampled, as {observation: (return, discount, next observation)}."""
    batch = replay.sample(len(replay), np.random.default_rng(0))
    rows = zip(batch.observations, batch.returns, batch.discounts, batch.next_observations, strict=True)
    return {float(o): (float(r), float(d), float(n)) for o, r, d, n in rows}


def test_one_step_transitions_are_what_happened() -> None:
    """With n_step 1 a transition is observation, reward, gamma and the next observation."""
    replay = buffer(1)
    feed(replay, [(1, 10, ""), (2, 20, "")])
    assert transitions(replay) == {0: (10, 0.5, 1), 1: (20, 0.5, 2)}


def test_n_step_returns_sum_discounted_rewards() -> None:
    """With n_step 3 the first of four steps has r0 + g r1 + g^2 r2 and bootstraps with g^3 from the third next one."""
    replay = buffer(3)
    feed(replay, [(1, 8, ""), (2, 4, ""), (3, 16, ""), (4, 32, "")])
    assert transitions(replay) == {0: (8 + 2 + 4, 0.125, 3), 1: (4 + 8 + 8, 0.125, 4)}


def test_termination_flushes_the_tail_without_bootstrapping() -> None:
    """At a terminal step every open transition ends there, with the rewards that were left and discount 0."""
    replay = buffer(3)
    feed(replay, [(1, 8, ""), (2, 4, "t")])
    assert transitions(replay) == {0: (8 + 2, 0.0, 2), 1: (4, 0.0, 2)}


def test_truncation_flushes_the_tail_and_bootstraps_from_the_last_observation() -> None:
    """A time limit is not a termination: g^k times the value of the true last observation counts."""
    replay = buffer(3)
    feed(replay, [(1, 8, ""), (2, 4, "c")])
    assert transitions(replay) == {0: (8 + 2, 0.25, 2), 1: (4, 0.5, 2)}


def test_an_episode_of_exactly_n_steps_ends_correctly() -> None:
    """When the n-th step terminates, the oldest transition has all n rewards and no bootstrap."""
    replay = buffer(2)
    feed(replay, [(1, 8, ""), (2, 4, "t")])
    assert transitions(replay) == {0: (10, 0.0, 2), 1: (4, 0.0, 2)}


@pytest.mark.parametrize("n_step", [1, 2, 5])
def test_no_transition_crosses_an_autoreset(n_step: int) -> None:
    """The step after an end, which only resets, is in no transition, and none spans two episodes."""
    replay = buffer(n_step)
    feed(replay, [(1, 1, ""), (2, 1, "c"), (10, 0, ""), (11, 1, ""), (12, 1, "t"), (20, 0, ""), (21, 1, "")])
    found = transitions(replay)
    assert set(found) == ({0, 1, 10, 11, 20} if n_step == 1 else {0, 1, 10, 11})
    assert {found[0][2], found[1][2]} <= {1, 2}
    assert {found[10][2], found[11][2]} <= {11, 12}


def test_environments_do_not_mix() -> None:
    """Each of several environments has its own returns and next observations, also when one of them ends."""
    replay = buffer(2, num_envs=2)
    ends = [[False, False], [False, True], [False, False]]
    for step, ended in enumerate(ends):
        here = np.array([step, 100 + step])
        replay.add(
            here, here % 2, np.array([1.0, 10.0]), np.array(ended), np.zeros(2, bool), here + 1, np.ones(2, bool)
        )
    assert transitions(replay) == {
        0: (1.5, 0.25, 2),
        1: (1.5, 0.25, 3),
        100: (15, 0.0, 102),
        101: (10, 0.0, 102),
    }


def test_the_oldest_transitions_go_first() -> None:
    """Once full, the buffer holds the newest transitions, each with its own next observation."""
    replay = buffer(2, capacity=10)
    feed(replay, [(step + 1, step, "") for step in range(57)])
    found = transitions(replay)
    assert set(found) == set(range(48, 56))
    assert all(row == (o + 0.5 * (o + 1), 0.25, o + 2) for o, row in found.items())


def test_a_batch_has_no_transition_twice_and_all_are_equally_likely() -> None:
    """Sampling is uniform without replacement: over many batches each of 40 is drawn about equally often."""
    replay = buffer(1)
    feed(replay, [(step + 1, 0, "c" if step == 20 else "") for step in range(42)])
    generator = np.random.default_rng(1)
    counts: NDArray[np.int64] = np.zeros(42, np.int64)
    for _ in range(4_000):
        drawn = replay.sample(10, generator).observations.astype(np.int64)
        assert len(set(drawn.tolist())) == 10
        counts[drawn] += 1
    assert counts[21] == 0  # the step that only reset
    expected = 4_000 * 10 / 41
    chi_square = ((np.delete(counts, 21) - expected) ** 2 / expected).sum()
    assert chi_square < 80  # 40 degrees of freedom: 99.98 %


def test_a_transition_takes_its_observation_and_at_most_16_bytes() -> None:
    """Next observations share the observations' storage; everything else of a transition is small numbers."""
    for n_actions, n_step, exponent in ((2, 1, 0.6), (18, 3, 0.6), (1_000, 500, None)):
        tracemalloc.start()  # counts what is allocated; the system provides it as it is written
        replay = ReplayBuffer(
            1_000_000, 8, (4,), np.dtype(np.float32), DiscreteSpace(n=n_actions), n_step, GAMMA, exponent
        )
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert 1_000_000 * 16 < taken <= 1_000_000 * (16 + 16), len(replay)


def test_the_terminal_fraction_counts_transitions_whose_episode_terminated() -> None:
    """Of five transitions, the two that reach the terminal state count; a truncated one does not."""
    replay = buffer(2)
    assert np.isnan(replay.terminal_fraction())
    feed(replay, [(1, 1, ""), (2, 1, ""), (3, 1, "t"), (10, 0, ""), (11, 1, ""), (12, 1, "c")])
    assert len(replay) == 5
    assert replay.terminal_fraction() == 2 / 5


Transition = tuple[float, int, float, float, float]
"""Observation, action, return, discount and next observation."""


def naive(ends: list[list[str]], rewards: list[list[int]], n_step: int, kept: int) -> set[Transition]:
    """The transitions that begin in the last `kept` steps, by a list for each environment ('r' where it only reset)."""
    found = set()
    for environment in range(len(ends[0])):
        end = [row[environment] for row in ends]
        for begin in range(max(0, len(end) - kept), len(end)):
            following = itertools.count(1)
            steps = next((k for k in following if k == n_step or begin + k > len(end) or end[begin + k - 1] in "tc"), 0)
            if end[begin] == "r" or begin + steps > len(end):
                continue
            total = sum(GAMMA**k * rewards[begin + k][environment] for k in range(steps))
            discount = 0.0 if end[begin + steps - 1] == "t" else GAMMA**steps
            name = 1_000.0 * environment + begin
            found.add((name, begin % 2, total, discount, name + steps))
    return found


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[list[str]], list[list[int]]]:
    """How each step ended and its reward, [steps][num_envs]; the step after an end only resets."""
    num_envs = draw(st.integers(1, 3))
    rows = draw(st.lists(st.lists(st.sampled_from(".....tc"), min_size=num_envs, max_size=num_envs), min_size=1))
    for before, row in itertools.pairwise(rows):
        row[:] = ["r" if old in "tc" else new for old, new in zip(before, row, strict=True)]
    rewards = st.lists(st.integers(-9, 9), min_size=num_envs, max_size=num_envs)
    return rows, draw(st.lists(rewards, min_size=len(rows), max_size=len(rows)))


@settings(max_examples=300, deadline=None)
@given(histories(), st.integers(1, 4), st.integers(2, 9), st.integers(0, 1))
def test_the_buffer_is_the_naive_list(
    history: tuple[list[list[str]], list[list[int]]], n_step: int, spare: int, extra_rows: int
) -> None:
    """Whatever ends when, for any number of environments, n and capacity, after every step, drawn either way."""
    ends, rewards = history
    num_envs, time_steps = len(ends[0]), n_step + spare
    capacity = time_steps * num_envs + extra_rows * (num_envs - 1)
    sizes = (capacity, num_envs, (), np.dtype(np.float32), DiscreteSpace(n=2), n_step, GAMMA)
    uniform, prioritized = ReplayBuffer(*sizes), ReplayBuffer(*sizes, priority_exponent=1.0)
    for step, (end, reward) in enumerate(zip(ends, rewards, strict=True)):
        here, kinds = 1_000 * np.arange(num_envs) + step, np.array(end)
        actions = np.full(num_envs, step % 2)
        for replay in (uniform, prioritized):
            replay.add(here, actions, np.array(reward), kinds == "t", kinds == "c", here + 1, kinds != "r")
        expected = naive(ends[: step + 1], rewards, n_step, time_steps - 1)
        assert len(uniform) == len(prioritized) == len(expected)
        if expected:
            generator = np.random.default_rng(step)
            assert drawn(uniform, len(expected), generator) == expected
            assert drawn(prioritized, 50, generator) <= expected


def drawn(replay: ReplayBuffer, count: int, generator: np.random.Generator) -> set[Transition]:
    """The different transitions of a batch."""
    batch = replay.sample(count, generator)
    return set(zip(*(column.tolist() for column in batch[:5]), strict=True))
