"""The tests' counterpart of `publisher.py`, and what must hold in a repository whatever happened to its writers."""

from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from dqn_models.repository import ModelRepository
from dqn_testing.crashing import Parent, parent
from tests.models.publisher import MODEL

ROOT = Path(__file__).parents[2]
OBSERVATIONS = np.array([[0, 0, 0.1, 0], [0, 0, -0.1, 0]], np.float32)


def publisher(root: Path) -> AbstractContextManager[Parent]:
    """Runs `publisher.py` on a repository."""
    return parent("tests.models.publisher", root, ROOT)


def assert_sound(repository: ModelRepository, published: set[int], already_verified: set[int]) -> None:
    """The repository lists, verifies and serves; nothing in `published` is lost; the champion exists; history is read.

    Adds what it verified to `already_verified`, which it trusts: versions never change.
    """
    versions = set(repository.versions(MODEL))
    assert published <= versions, f"lost: {published - versions}"
    for version in versions - already_verified:
        repository.verify(MODEL, version)
        already_verified.add(version)
    champion = repository.alias(MODEL)
    if champion is not None:
        assert champion in versions, f"champion names {champion}, which is not there"
        assert repository.load_policy(MODEL, champion).act(OBSERVATIONS).tolist() == [1, 0]
    events = [event for event in repository.history(MODEL) if event["event"] == "publish"]
    numbers = [event["version"] for event in events]
    assert numbers == sorted(set(numbers)), "a version number was used twice"
    assert versions <= set(numbers), "a version is missing in the history"
