"""Kills a writer at the lines of the code that writes, each time from the same state.

`make test` takes a line now and then, `make test-long` every single one.
"""

import itertools
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dqn_models import history
from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_linear
from tests.models.crashes import assert_sound, publisher
from tests.models.publisher import KEPT_BY_PRUNE, MODEL

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("stride", [8, pytest.param(1, marks=pytest.mark.long)]),
]


def killed(before: ModelRepository, operation: str, stride: int) -> Iterator[tuple[ModelRepository, set[int]]]:
    """The repository after each kill, `stride` lines later than the last, and at last none; what it published."""
    root = before.root.with_name("killed")
    with publisher(root) as child:
        for line in itertools.count(1, stride):
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(before.root, root)
            child.start(f"{operation} {line}")
            *reports, (_, status) = child.reports()
            assert int(status) in (0, -signal.SIGKILL)
            yield ModelRepository(root), {int(number) for word, number in reports if word == "published"}
            if int(status) == 0:
                assert line > 30
                return


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """Versions 1 and 2 have been champions, and 2 still is; version 3 never was."""
    repository = ModelRepository(tmp_path / "before")
    for promote in (True, True, False):
        publish_linear(repository, promote=promote)
    return repository


def test_a_publish_killed_at_any_line_loses_nothing(repository: ModelRepository, stride: int) -> None:
    """Wherever a publish is cut off, earlier versions stay, and the next one gets a new number."""
    for after, published in killed(repository, "publish", stride):
        assert_sound(after, {1, 2, 3} | published, set())
        told = [event["version"] for event in after.history(MODEL) if event["event"] == "publish"]
        assert told == after.versions(MODEL)
        left_behind = {int(path.name) for path in (after.root / MODEL).iterdir() if path.name.isdigit()}
        assert publish_linear(after).version == max(left_behind) + 1
        assert_sound(after, {1, 2, 3} | published, {1, 2, 3})
    assert published == {4}


@pytest.mark.parametrize(("operation", "old", "new"), [("promote", 2, 3), ("rollback", 2, 1)])
def test_a_change_of_champion_killed_at_any_line_is_done_or_not(
    repository: ModelRepository, operation: str, old: int, new: int, stride: int
) -> None:
    """Wherever a promotion or rollback is cut off, the champion is the old or the new one, and can be rolled back."""
    before = {1: None, 2: 1, 3: 2}
    for after, _ in killed(repository, operation, stride):
        champion = after.alias(MODEL)
        assert champion in (old, new)
        assert [event["version"] for event in after.history(MODEL) if event.get("alias")][-1] == champion
        assert history.previous_version(after.history(MODEL), "champion", champion) == before[champion]
        assert_sound(after, {1, 2, 3}, set())
    assert champion == new


def test_a_prune_killed_at_any_line_keeps_what_must_stay(repository: ModelRepository, stride: int) -> None:
    """Wherever a prune is cut off, the newest versions, the champion and the rollback target are intact."""
    for _ in range(1 + KEPT_BY_PRUNE):
        publish_linear(repository)
    (repository.root / MODEL / "8").mkdir()
    must_stay = {1, 2, 5, 6, 7}
    for after, _ in killed(repository, "prune", stride):
        assert_sound(after, must_stay, set())
        again = ModelRepository(after.root)
        again.prune(MODEL, keep=KEPT_BY_PRUNE)
        assert set(again.versions(MODEL)) == must_stay
    assert not (after.root / MODEL / "8").exists()
