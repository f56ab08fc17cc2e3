"""Full and read-only disks."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dqn_models.errors import RepositoryError
from dqn_models.repository import ModelRepository
from dqn_testing.disks import PAGE, fill, mount, small_file_system
from dqn_testing.repositories import draft, linear_onnx, publish_linear
from tests.models.crashes import assert_sound
from tests.models.publisher import MODEL

PAGES = 64
NOWHERE = contextlib.nullcontext()

CHANGES: dict[str, Callable[[ModelRepository], object]] = {
    "publish": lambda repository: repository.publish(
        draft(), {"model.onnx": linear_onnx(), "big.bin": b"x" * 8 * PAGE}
    ),
    "promote": lambda repository: repository.promote(MODEL, 1),
    "rollback": lambda repository: repository.rollback(MODEL),
    "prune": lambda repository: repository.prune(MODEL, keep=1),
}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few pages."""
    with small_file_system(tmp_path / "disk", PAGES) as disk:
        yield disk


@pytest.fixture
def repository(small_disk: Path) -> ModelRepository:
    """Four versions on the small disk; 1 and then 2 were champions."""
    repository = ModelRepository(small_disk / "store")
    for promote in (True, True, False, False):
        publish_linear(repository, promote=promote)
    return repository


def state(repository: ModelRepository) -> tuple[list[int], dict[str, int]]:
    """What a server sees."""
    return repository.versions(MODEL), repository.aliases(MODEL)


@pytest.mark.parametrize("change", CHANGES)
def test_a_disk_that_fills_up_at_any_point_damages_nothing(
    small_disk: Path, repository: ModelRepository, change: str
) -> None:
    """With 0, 1, 2, ... pages left, a change either fails with RepositoryError and changes nothing, or is done."""
    before, copy = state(repository), small_disk.with_name("copy")
    shutil.copytree(repository.root, copy)
    outcomes = []
    for free_pages in range(20):
        fill(small_disk, free_pages)
        done = attempt(repository, change)
        assert done == (state(repository) != before)
        assert_sound(repository, {1, 2}, set())
        outcomes.append(done)
        shutil.rmtree(repository.root)
        (small_disk / "filler").unlink()
        shutil.copytree(copy, repository.root)
    assert outcomes == sorted(outcomes), "more space, but refused"
    assert outcomes[-1]
    assert not outcomes[0] or change == "prune"


@pytest.mark.parametrize("in_job", [False, True])
def test_a_disk_that_is_full_at_the_first_publish_is_as_before(small_disk: Path, *, in_job: bool) -> None:
    """With 0, 1, 2, ... pages left, a model's first version is published, or nothing of the model is there."""
    outcomes = []
    for free_pages in range(20):
        repository = ModelRepository(small_disk / "store")
        repository.root.mkdir()
        fill(small_disk, free_pages)
        job = repository.job(MODEL, "publish") if in_job else NOWHERE
        outcomes.append(attempt(repository, "publish", job))
        assert [path.name for path in repository.root.iterdir()] == [MODEL] * outcomes[-1]
        shutil.rmtree(repository.root)
        (small_disk / "filler").unlink()
    assert outcomes == sorted(outcomes), "more space, but refused"
    assert set(outcomes) == {False, True}


@pytest.mark.parametrize("change", CHANGES)
def test_a_read_only_repository_serves_and_refuses_changes(
    small_disk: Path, repository: ModelRepository, change: str
) -> None:
    """On a read-only disk everything can be read, and a change fails with a sentence that says why."""
    mount("-o", "remount,ro", str(small_disk))
    with pytest.raises(RepositoryError, match=r"Cannot .* cartpole.*: Read-only file system\."):
        CHANGES[change](repository)
    assert_sound(repository, {1, 2, 3, 4}, set())
    assert repository.alias(MODEL) == 2


def attempt(
    repository: ModelRepository, change: str, within: contextlib.AbstractContextManager[None] = NOWHERE
) -> bool:
    """Tries a change and returns whether it was made; a refusal must say why."""
    try:
        with within:
            CHANGES[change](repository)
    except RepositoryError as error:
        if "No space left on device" not in str(error):
            raise
        return False
    return True
