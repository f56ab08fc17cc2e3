"""Reproducible exploration: every draw is a hash of (salt, model, episode, step).

So a repeated request gets the same action, whichever process answers it, and a log can be recomputed. The draws of
an episode are the outputs of a SplitMix64 generator (Steele et al., 2014) whose seed is a BLAKE2b hash; step s uses
outputs 2s and 2s + 1.
"""

from collections.abc import Sequence
from hashlib import blake2b
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_GAMMA = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1
_UNIT = 2.0**-53


class Exploration(NamedTuple):
    """The index of the action that is taken, and its probability."""

    action: int
    propensity: float


def episode_key(salt: str, model: str, episode: str) -> int:
    """The seed of an episode's draws; worth caching while the episode lasts."""
    text = f"{salt}\0{model}\0{episode}".encode()
    return int.from_bytes(blake2b(text, digest_size=8, person=b"dqn-explore").digest(), "little")


def draw(key: int, number: int) -> float:
    """The uniform draw in [0, 1) with this number, counted from 0, of an episode."""
    bits = (key + (number + 1) * _GAMMA) & _MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((bits ^ (bits >> 31)) >> 11) * _UNIT


def explore(
    key: int, step: int, greedy: int, epsilon: float, n_actions: int, mask: NDArray[np.bool_] | None = None
) -> Exploration:
    """With probability `epsilon` an allowed action drawn uniformly, else the greedy one; and its probability.

    `mask` [n_actions] is True where an action is allowed; it must allow `greedy`.
    """
    allowed = range(n_actions) if mask is None else np.flatnonzero(mask).tolist()
    action = greedy
    if draw(key, 2 * step) < epsilon:
        action = allowed[int(draw(key, 2 * step + 1) * len(allowed))]
    return Exploration(action, epsilon / len(allowed) + (1.0 - epsilon) * (action == greedy))


def explore_branches(
    key: int,
    step: int,
    greedy: Sequence[int],
    epsilon: float,
    branches: Sequence[int],
    mask: NDArray[np.bool_] | None = None,
) -> tuple[tuple[int, ...], float]:
    """As `explore` where actions branch: one draw decides whether all components are drawn, then each has its own.

    `greedy` has an index per component, `mask` [sum(branches)] is True for each allowed value of each component. The
    indices, and the probability of all of them together.
    """
    first, stride = step * (1 + len(branches)), 1 + len(branches)
    ends = np.cumsum(branches)[:-1]
    masks = [None] * len(branches) if mask is None else np.split(mask, ends)
    allowed = [
        list(range(count)) if part is None else np.flatnonzero(part).tolist()
        for count, part in zip(branches, masks, strict=True)
    ]
    action = tuple(greedy)
    if draw(key, first) < epsilon:
        draws = (draw(key, number) for number in range(first + 1, first + stride))
        action = tuple(part[int(value * len(part))] for part, value in zip(allowed, draws, strict=True))
    count = prod(map(len, allowed))
    return action, epsilon / count + (1.0 - epsilon) * (action == tuple(greedy))


def share_of(salt: str, model: str, episode: str) -> float:
    """The position of an episode in [0, 1): it is recorded if that is below the sampling fraction.

    So all processes, with whatever fraction, record the same episodes first.
    """
    text = f"{salt}\0{model}\0{episode}".encode()
    return (int.from_bytes(blake2b(text, digest_size=8, person=b"dqn-sample").digest(), "little") >> 11) * _UNIT
