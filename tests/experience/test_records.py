"""Which records are valid."""

import json
import math

import numpy as np
import pytest

from dqn_experience.errors import RecordError
from dqn_experience.records import (
    MAX_STEP,
    Outcome,
    RecordedEpisode,
    check_episode_id,
    check_outcome,
    check_recorded,
    dtype_of,
    packed_masks,
    row_of,
    unpacked_masks,
)
from dqn_testing.experience import behavior

ROWS = [
    np.dtype("<f4"),
    np.dtype(("<f4", (4,))),
    np.dtype(("u1", (84, 84, 4))),
    np.dtype("<i8"),
    np.dtype([("image", "u1", (3, 3)), ("goal.position", "<f4", (2,)), ("count", "<i8")], align=True),
]


@pytest.mark.parametrize("dtype", ROWS, ids=str)
def test_a_dtype_of_rows_survives_json(dtype: np.dtype[np.void]) -> None:
    """Plain rows of any shape, and structured ones with their padding."""
    found = dtype_of(json.loads(json.dumps(row_of(dtype))))
    assert (found, found.itemsize) == (dtype, dtype.itemsize)


@pytest.mark.parametrize("episode", ["a", "line3-0917", "!~", "x" * 64])
def test_visible_ascii_names_episodes(episode: str) -> None:
    """From one character to 64."""
    check_episode_id(episode)


@pytest.mark.parametrize("episode", ["", "x" * 65, "a b", "a\n", "\x7f", "\x00", "é", "回", "a\u200b", "\udc80"])
def test_nothing_else_names_episodes(episode: str) -> None:
    """Spaces, control characters, other alphabets, empty and long texts are refused in a sentence."""
    with pytest.raises(RecordError, match="cannot name an episode"):
        check_episode_id(episode)


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (Outcome("e", 0, math.nan), "Episode e, step 0: the reward is nan"),
        (Outcome("e", 0, math.inf), "must be finite"),
        (Outcome("e", -1, 0.0), "is not from 0"),
        (Outcome("e", MAX_STEP + 1, 0.0), "is not from 0"),
        (Outcome("e", 0, 0.0, observation=b"x"), "does not end the episode"),
        (Outcome("e", 0, 0.0, "truncated", b"x"), "has 1 bytes; expected 16"),
        (Outcome("e", 0, 0.0, executed=-1), "executed action"),
        (Outcome("a b", 0, 0.0), "cannot name"),
    ],
)
def test_an_invalid_outcome_is_refused(outcome: Outcome, message: str) -> None:
    """The sentence says which one and why."""
    with pytest.raises(RecordError, match=message):
        check_outcome(outcome, 16)


@pytest.mark.parametrize(
    ("recorded", "message"),
    [
        (RecordedEpisode("e", b"", [], []), "at least one"),
        (RecordedEpisode("e", bytes(32), [0], []), "1 actions and 0 rewards"),
        (RecordedEpisode("e", bytes(32), [0], [0.0], []), "0 propensities"),
        (RecordedEpisode("e", bytes(16), [0], [0.0]), "expected 32, 2 rows of 16"),
        (RecordedEpisode("e", bytes(32), [2], [0.0]), "the action 2; expected an index below"),
        (RecordedEpisode("e", bytes(32), [[0]], [0.0]), "the action"),
        (RecordedEpisode("e", bytes(32), [0], [math.nan]), "not finite"),
        (RecordedEpisode("e", bytes(32), [0], [0.0], [0.0]), "propensity"),
    ],
)
def test_an_invalid_whole_episode_is_refused(recorded: RecordedEpisode, message: str) -> None:
    """Lengths must match, actions must exist, and rewards and propensities must be valid numbers."""
    with pytest.raises(RecordError, match=message):
        check_recorded(recorded, behavior())


@pytest.mark.parametrize("n_actions", [1, 7, 8, 9, 4096])
def test_masks_survive_as_bits(n_actions: int) -> None:
    """A missing mask allows all actions."""
    masks = np.random.default_rng(0).random((5, n_actions)) < 0.5
    found = unpacked_masks(packed_masks([*masks, None], n_actions), n_actions)
    assert (found == [*masks, np.ones(n_actions, np.bool_)]).all()
