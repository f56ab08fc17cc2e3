"""Repositories that several users write, on file systems that lack some features."""

import contextlib
import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dqn_models.errors import RepositoryError
from dqn_models.inspection import check, describe
from dqn_models.reader import RepositoryReader
from dqn_models.repository import ModelRepository
from dqn_testing.preload import compiled
from dqn_testing.repositories import publish_linear

GROUP, OWNER, COLLEAGUE = 43_000, 43_001, 43_002

CHANGES = """
import sys
from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_linear
repository = ModelRepository(sys.argv[1])
for change in sys.argv[2:]:
    match change.split():
        case ["publish"]: publish_linear(repository)
        case ["promote", version]: repository.promote("cartpole", int(version))
        case ["rollback"]: repository.rollback("cartpole")
        case ["prune"]: repository.prune("cartpole", keep=1)
"""


@contextlib.contextmanager
def user(uid: int, umask: int = 0o002) -> Iterator[None]:
    """Runs the rest as another user of the group; skips the test if that is not permitted, which in CI is a failure."""
    if os.geteuid():
        (pytest.fail if "CI" in os.environ else pytest.skip)("needs root, to be other users")
    groups, before = os.getgroups(), os.umask(umask)
    os.setgroups([])
    os.setegid(GROUP)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
        os.umask(before)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that the group shares."""
    for folder in (tmp_path, *tmp_path.parents):  # pytest keeps two of them private or, in parallel, three
        mode = folder.stat().st_mode
        if mode & 0o011 != 0o011:
            folder.chmod(mode | 0o011)
    folder = tmp_path / "shared"
    folder.mkdir()
    with contextlib.suppress(PermissionError):
        os.chown(folder, -1, GROUP)
    folder.chmod(0o2775)
    return folder


def test_users_of_a_group_change_one_repository(shared: Path) -> None:
    """If one user's umask lets the group write, another user in it publishes, promotes, rolls back and prunes."""
    repository = ModelRepository(shared / "store")
    with user(OWNER):
        publish_linear(repository, promote=True)
        publish_linear(repository, promote=True)
    with user(COLLEAGUE):
        assert repository.rollback("cartpole") == 1
        assert publish_linear(repository, promote=True).version == 3
        assert repository.prune("cartpole", keep=1).versions == [2]
        repository.check_writable("cartpole")
        with repository.job("cartpole", "retrain"):
            pass
    entries = [shared / "store", *(shared / "store").rglob("*")]
    assert {entry.stat().st_gid for entry in entries} == {GROUP}
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in entries if entry.is_file()} == {0o664}


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_every_file_follows_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    """No file has more or fewer permissions than the others."""
    before = os.umask(umask)
    try:
        publish_linear(ModelRepository(tmp_path / "store"), promote=True)
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}


def test_a_lock_of_another_user_is_no_obstacle_and_a_history_is_named(shared: Path) -> None:
    """If files of an earlier release do not let the group write, the lock works anyway, and the history is named."""
    repository = ModelRepository(shared / "store")
    with user(OWNER):
        publish_linear(repository)
        (shared / "store/cartpole/.lock").chmod(0o644)
    with user(COLLEAGUE):
        repository.promote("cartpole", 1)
    (shared / "store/cartpole/history.jsonl").chmod(0o644)
    with user(COLLEAGUE), pytest.raises(RepositoryError, match=r"Permission denied for .*history\.jsonl\."):
        publish_linear(repository)
    assert repository.versions("cartpole") == [1]


def test_what_may_not_be_read_is_not_empty(shared: Path) -> None:
    """A repository without read permission is an error; a model without it is named, and hides no other."""
    repository = ModelRepository(shared / "store")
    with user(OWNER):
        publish_linear(repository, promote=True)
        publish_linear(repository, "private", promote=True)
        (shared / "store/private").chmod(0o700)
    with user(COLLEAGUE):
        assert repository.models() == ["cartpole", "private"]
        for read in (repository.versions, repository.aliases, repository.resolve, repository.history):
            with pytest.raises(RepositoryError, match=r"Cannot read .*private.*: Permission denied"):
                read("private")
        assert [(row["model"], "error" in row) for row in describe(repository)] == [
            ("cartpole", False),
            ("private", True),
        ]
        assert [finding["ok"] for finding in check(repository)] == [True, False]
    for mode in (0o000, 0o444):
        (shared / "store").chmod(mode)
        with user(COLLEAGUE), pytest.raises(RepositoryError, match=r"Cannot read .*store: Permission denied"):
            RepositoryReader(shared / "store").models()


class Faulty:
    """A repository whose file system fails."""

    def __init__(self, root: Path, shim: Path) -> None:
        """The shim makes calls fail under `root`."""
        self.root, self._shim = root, shim

    def change(self, failures: str, *changes: str) -> str:
        """Makes these changes in a process in which calls fail; returns the last line of its errors."""
        faults = {"LD_PRELOAD": str(self._shim), "FAIL": failures, "FAIL_BELOW": str(self.root)}
        command = [sys.executable, "-c", CHANGES, str(self.root), *changes]
        done = subprocess.run(command, env=os.environ | faults, capture_output=True, text=True, check=False, timeout=60)
        return (done.stderr.splitlines() or [""])[-1]


@pytest.fixture
def faulty(tmp_path: Path) -> Faulty:
    """A repository with versions 1 and 2, the first of them champion."""
    repository = ModelRepository(tmp_path / "store")
    publish_linear(repository, promote=True)
    publish_linear(repository)
    return Faulty(repository.root, compiled("fail_calls.c", tmp_path))


@pytest.mark.parametrize("missing", ["fsync-dir", "link"])
@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EPERM])
def test_a_file_system_without_directory_syncs_or_hard_links_will_do(faulty: Faulty, missing: str, error: int) -> None:
    """Everything works if directories cannot be synced or files linked; other errors are not mistaken for that."""
    changes = ["publish", "promote 2", "promote 3", "rollback", "prune"]
    said = faulty.change(f"{missing}={error}", *changes)
    repository = ModelRepository(faulty.root)
    if (missing, error) == ("fsync-dir", errno.EPERM):
        assert "Cannot publish" in said
        return
    assert said == ""
    assert (repository.aliases("cartpole"), repository.versions("cartpole")) == ({"champion": 2}, [1, 2, 3])


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        (errno.ENOLCK, ["publish", "promote 2", "rollback", "prune"]),
        (errno.ENOTSUP, ["publish"]),
        (errno.ENOSYS, ["publish"]),
    ],
)
def test_a_file_system_without_locks_is_refused_with_a_remedy(faulty: Faulty, error: int, changes: list[str]) -> None:
    """Writers would collide: each change is refused with a sentence, and nothing changes."""
    repository = ModelRepository(faulty.root)
    before = repository.history("cartpole")
    for change in changes:
        said = faulty.change(f"flock={error}", change)
        assert "is on a file system without locks" in said
        assert "Mount it with locks" in said
    assert (repository.history("cartpole"), repository.alias("cartpole")) == (before, 1)


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        ("promote 2", f"rename={errno.EIO}"),
        ("promote 2", f"rename={errno.EACCES}"),
        ("publish", f"link={errno.EIO}"),
        ("publish", f"link={errno.ENOSYS} rename={errno.EIO}"),
    ],
)
def test_the_history_records_nothing_that_did_not_happen(faulty: Faulty, change: str, failure: str) -> None:
    """A change that fails in its last step leaves no event, and the next one is recorded as usual."""
    repository = ModelRepository(faulty.root)
    lines = (faulty.root / "cartpole/history.jsonl").read_bytes()
    assert "RepositoryError: Cannot" in faulty.change(failure, change)
    assert (faulty.root / "cartpole/history.jsonl").read_bytes() == lines
    assert (repository.alias("cartpole"), repository.versions("cartpole")) == (1, [1, 2])
    repository.promote("cartpole", 2)
    assert [event["version"] for event in repository.history("cartpole")] == [1, 1, 2, 2]


def test_a_change_is_recorded_although_its_directory_could_not_be_synced(faulty: Faulty) -> None:
    """A disk that fails after the last step: the alias has changed, and the history says so."""
    assert "Cannot promote" in faulty.change(f"fsync-dir={errno.EPERM}", "promote 2")
    repository = ModelRepository(faulty.root)
    champion = repository.alias("cartpole")
    promoted = [event["version"] for event in repository.history("cartpole") if event["event"] == "promote"]
    assert promoted[-1] == champion
