"""Prioritized replay: the sum tree and its draws, against plain loops in double precision."""

import numpy as np
import pytest
from numpy.typing import NDArray

from dqn_models.spaces import DiscreteSpace
from dqn_training.replay.buffer import ReplayBuffer
from dqn_training.replay.sum_tree import Priorities, SumTree


def walk(values: NDArray[np.float64], mass: float) -> int:
    """The leaf at which a running sum over the leaves passes `mass`."""
    total = 0.0
    for leaf, value in enumerate(values):
        total += value
        if mass < total:
            return leaf
    raise AssertionError(mass)


@pytest.mark.parametrize("leaves", [1, 5, 16, 17, 256, 300, 5_000])
def test_the_tree_finds_what_a_linear_search_finds(leaves: int) -> None:
    """After batches of changes, with repeated leaves and zeros, sums and results are those of the plain array."""
    generator = np.random.default_rng(leaves)
    tree, plain = SumTree(leaves), np.zeros(leaves)
    for _ in range(20):
        changed = generator.integers(0, leaves, 40)
        values = generator.random(40) * (generator.random(40) > 0.3)
        tree.set(changed, values)
        for leaf, value in zip(changed, values, strict=True):
            plain[leaf] = value
    np.testing.assert_array_equal(tree.get(np.arange(leaves)), plain)
    if not plain.any():
        plain[0] = 1.0
        tree.set(np.array([0]), 1.0)
    assert tree.total == pytest.approx(plain.sum())
    masses = generator.random(200) * plain.sum()
    found = tree.find(masses)
    away = np.abs(plain.cumsum() - masses[:, np.newaxis]).min(axis=1) > 1e-9  # not on an edge, where rounding decides
    assert found[away].tolist() == [walk(plain, mass) for mass in masses[away]]


def test_a_leaf_of_zero_is_never_found() -> None:
    """Not even for a mass of zero, the whole sum or more, whatever rounding does."""
    tree = SumTree(1_000)
    some = np.arange(3, 1_000, 7)
    tree.set(some, np.random.default_rng(0).random(len(some)) * 1e-3 + 0.1)
    masses = np.concatenate([[0.0], np.linspace(0, tree.total, 10_000), [tree.total * (1 + 1e-12)]])
    assert set(tree.find(masses).tolist()) == set(some.tolist())


def test_rows_are_drawn_in_proportion_to_their_priorities() -> None:
    """Each row's fraction of many draws is error^exponent over the sum; one without a priority is never drawn."""
    priorities, generator = Priorities(40, exponent=0.7), np.random.default_rng(1)
    rows = np.arange(30)
    priorities.replace(np.zeros(0, np.int64), rows)
    errors = generator.random(30).astype(np.float32) * 5
    priorities.update(rows, errors)
    counts = np.zeros(40)
    for _ in range(2_000):
        np.add.at(counts, priorities.draw(16, 0.4, generator)[0], 1)
    expected = (errors + 1e-6) ** 0.7
    np.testing.assert_allclose(counts[:30] / counts.sum(), expected / expected.sum(), rtol=0.15)
    assert counts[30:].sum() == 0


@pytest.mark.parametrize("importance_exponent", [0.0, 0.4, 1.0])
def test_importance_weights_are_the_papers(importance_exponent: float) -> None:
    """(N P(i))^-beta over the largest of the batch (Schaul et al., 2016, section 3.4)."""
    priorities, generator = Priorities(20, exponent=0.6), np.random.default_rng(2)
    priorities.replace(np.zeros(0, np.int64), np.arange(20))
    errors = generator.random(20).astype(np.float32)
    priorities.update(np.arange(20), errors)
    rows, weights = priorities.draw(8, importance_exponent, generator)
    chances = [(float(errors[row]) + 1e-6) ** 0.6 for row in rows]
    chances = [chance / sum((float(error) + 1e-6) ** 0.6 for error in errors) for chance in chances]
    raw = [(20 * chance) ** -importance_exponent for chance in chances]
    np.testing.assert_allclose(weights, [weight / max(raw) for weight in raw], rtol=1e-5)


def test_new_transitions_have_the_largest_priority_so_far() -> None:
    """A row added after an error of 99 is drawn as if it had that error, whatever the others have by then."""
    priorities = Priorities(4, exponent=1.0)
    priorities.replace(np.zeros(0, np.int64), np.array([0, 1]))
    priorities.update(np.array([0, 1]), np.array([99.0, 1.0], np.float32))
    priorities.update(np.array([0]), np.array([1.0], np.float32))
    priorities.replace(np.zeros(0, np.int64), np.array([2]))
    rows, _ = priorities.draw(1_010, 0.0, np.random.default_rng(0))
    assert (rows == 2).sum() == pytest.approx(1_010 * 99 / 101, abs=2)


def test_replay_draws_by_priority_only_what_is_a_transition() -> None:
    """Over several laps of the ring, drawn rows are ready, belong together and have weights; errors change the draw."""
    replay = ReplayBuffer(
        40, 2, (), np.dtype(np.float32), DiscreteSpace(n=2), n_step=2, gamma=0.5, priority_exponent=1.0
    )
    generator = np.random.default_rng(3)
    alive = np.ones(2, bool)
    for step in range(70):
        here = np.array([step, 1_000 + step], np.float32)
        ended = np.array([step % 11 == 10, step % 7 == 6])
        replay.add(here, here.astype(np.int64) % 2, np.ones(2), ended, np.zeros(2, bool), here + 1, alive)
        alive = ~ended
        if len(replay) < 8:
            continue
        batch = replay.sample(8, generator, 0.5)
        assert batch.weights is not None
        assert batch.weights.max() == 1.0
        gone = batch.next_observations - batch.observations
        assert ((gone == 2) | ((gone == 1) & (batch.discounts == 0))).all()
        replay.update_priorities(batch.rows, generator.random(8).astype(np.float32))
    everything = np.unique(np.concatenate([replay.sample(40, generator).rows for _ in range(50)]))
    assert len(everything) == len(replay)
    replay.update_priorities(everything, np.full(len(replay), 1e-9, np.float32))
    chosen = batch.rows[:1]
    replay.update_priorities(chosen, np.array([10.0], np.float32))
    assert set(replay.sample(50, generator).rows.tolist()) == set(chosen.tolist())


def test_restored_priorities_continue_as_they_were() -> None:
    """A restored tree draws the same rows and weights, to the last bit."""
    first, second = Priorities(300, 0.6), Priorities(300, 0.6)
    generator = np.random.default_rng(4)
    first.replace(np.zeros(0, np.int64), np.arange(250))
    for _ in range(10):
        first.update(generator.integers(0, 250, 32), generator.random(32).astype(np.float32) * 3)
    second.load_state_dict(first.state_dict())
    drawn = [one.draw(64, 0.5, np.random.default_rng(5)) for one in (first, second)]
    np.testing.assert_array_equal(drawn[0][0], drawn[1][0])
    np.testing.assert_array_equal(drawn[0][1], drawn[1][1])
    assert first._largest == second._largest
