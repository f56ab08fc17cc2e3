"""Replay of stacked observations: each frame is stored once, and every transition is unchanged."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dqn_models.spaces import DiscreteSpace
from dqn_training.replay.buffer import ReplayBuffer
from dqn_training.replay.frames import frame_dtype

PLAIN = np.dtype((np.uint8, (3, 2)))
SEVERAL = np.dtype([("a", np.float32, (3, 2)), ("b", np.int64, (3,))], align=True)
ENVIRONMENTS, CAPACITY = 2, 60


class Stacks:
    """Observations of episodes of random lengths, stacked as Gymnasium's wrapper does it."""

    def __init__(self, dtype: np.dtype[Any], seed: int) -> None:
        self.dtype, self.generator, self.count = dtype, np.random.default_rng(seed), 0
        self.observations = self.blank()

    def blank(self) -> NDArray[Any]:
        """No observations yet."""
        return np.zeros(ENVIRONMENTS, self.dtype)

    def follow(self, index: int, *, begins: bool) -> None:
        """The next frame of an environment, which encodes its number."""
        self.count += 1
        names = self.dtype.names
        fields = [self.observations] if names is None else [self.observations[name] for name in names]
        for field in fields:
            field[index] = self.count % 251 if begins else np.roll(field[index], -1, axis=0)
            field[index][-1] = self.count % 251


def filled(dtype: np.dtype[Any], steps: int, priority_exponent: float | None) -> tuple[ReplayBuffer, ReplayBuffer]:
    """The same steps in a buffer that keeps whole observations and in one that keeps frames."""
    base, shape = dtype.base, dtype.shape
    sizes = (CAPACITY, ENVIRONMENTS, shape, base, DiscreteSpace(n=2), 2, 0.5, priority_exponent)
    whole, stacked = ReplayBuffer(*sizes), ReplayBuffer(*sizes, frames=3)
    source, alive = Stacks(dtype, steps), np.ones(ENVIRONMENTS, np.bool_)
    for index in range(ENVIRONMENTS):
        source.follow(index, begins=True)
    for step in range(steps):
        before = source.observations.copy()
        ended = (source.generator.random(ENVIRONMENTS) < 0.2) & alive
        truncated = ended & (source.generator.random(ENVIRONMENTS) < 0.5)
        for index in range(ENVIRONMENTS):
            source.follow(index, begins=not alive[index])
        arrays = (np.zeros(2, np.int64), np.ones(2), ended & ~truncated, truncated, source.observations, alive)
        for replay in (whole, stacked):
            replay.add(before, *arrays)
        alive = ~ended
        if step % 37 == 36:
            for index in range(ENVIRONMENTS):
                source.follow(index, begins=True)
            for replay in (whole, stacked):
                replay.begin_episodes(source.observations)
            alive = np.ones(ENVIRONMENTS, np.bool_)
    return whole, stacked


@pytest.mark.parametrize("priority_exponent", [None, 1.0], ids=["uniform", "prioritized"])
@pytest.mark.parametrize("steps", [5, 29, 30, 31, 80, 200])
@pytest.mark.parametrize("dtype", [PLAIN, SEVERAL], ids=["one leaf", "several leaves"])
def test_transitions_are_those_of_whole_observations(
    dtype: np.dtype[Any], steps: int, priority_exponent: float | None
) -> None:
    """Before and after the buffer is full, across episodes' ends and resumes, with all but the few oldest available."""
    whole, stacked = filled(dtype, steps, None)
    expected = whole.sample(len(whole), np.random.default_rng(0))
    places = {row: place for place, row in enumerate(expected.rows.tolist())}
    if priority_exponent is not None:
        _, stacked = filled(dtype, steps, priority_exponent)
    found = stacked.sample(min(len(stacked), 16) if priority_exponent else len(stacked), np.random.default_rng(1))
    order = [places[row] for row in found.rows.tolist()]
    assert len(whole) - 2 * ENVIRONMENTS <= len(stacked) <= len(whole)
    for name in ("observations", "next_observations", "returns", "discounts"):
        assert (getattr(found, name) == getattr(expected, name)[order]).all(), name
    assert (stacked.observations() == whole.observations()[-len(stacked.observations()) :]).all() or steps > 30


def test_a_frame_is_kept_once() -> None:
    """A row takes the bytes of one frame, whatever the number of frames in an observation."""
    assert frame_dtype(PLAIN).itemsize == PLAIN.itemsize / 3
    assert frame_dtype(SEVERAL).itemsize == SEVERAL.itemsize / 3
