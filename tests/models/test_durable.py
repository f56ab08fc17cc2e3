"""Durable writes."""

import contextlib
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dqn_models import durable
from dqn_models.errors import RepositoryError


def test_a_new_name_is_never_taken_twice(tmp_path: Path) -> None:
    """Committing to a name that exists is refused and leaves what was there."""
    path = tmp_path / "manifest.json"
    path.write_bytes(b"first")
    with pytest.raises(FileExistsError):
        durable.commit_new(durable.write_temporary(path, b"second"), path)
    assert path.read_bytes() == b"first"


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If links are not supported, a rename replaces them, and still never takes an existing name."""

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "link", unsupported)
    path = tmp_path / "manifest.json"
    durable.commit_new(durable.write_temporary(path, b"first"), path)
    with pytest.raises(FileExistsError):
        durable.commit_new(durable.write_temporary(path, b"second"), path)
    assert path.read_bytes() == b"first"


def test_a_failed_write_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the bytes cannot be made durable, nothing is left behind."""

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        durable.write_temporary(tmp_path / "champion", b"1\n")
    with pytest.raises(OSError, match="Input/output error"):
        durable.append_line(tmp_path / "history.jsonl", b"{}")
    assert [path.name for path in tmp_path.iterdir()] == ["history.jsonl"]
    assert (tmp_path / "history.jsonl").read_bytes() == b""


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    """A second holder is refused with a sentence that says who holds it; afterwards the lock is free."""
    path = tmp_path / ".lock"
    with (
        durable.exclusive_lock(path, "another publish", 0),
        pytest.raises(RepositoryError, match=r"is locked: another publish is running there\."),
        durable.exclusive_lock(path, "another publish", 0.05),
    ):
        pytest.fail("two holders")
    with durable.exclusive_lock(path, "another publish", 0):
        pass


def test_a_lock_whose_file_was_removed_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    """A holder removes the file and its directory before it leaves; the next one has a lock that a third respects."""
    path = tmp_path / "model" / ".lock"
    taken = ThreadPoolExecutor(1)
    with contextlib.ExitStack() as second:
        with durable.exclusive_lock(path, "another job", 0):
            waiting = taken.submit(second.enter_context, durable.exclusive_lock(path, "another job", 30))
            path.unlink()
            path.parent.rmdir()
        waiting.result(30)
        with pytest.raises(RepositoryError), durable.exclusive_lock(path, "another job", 0):
            pytest.fail("two holders")


def test_a_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    """Missing parents are created, too; existing ones are left alone."""
    for _ in range(2):
        durable.make_directory(tmp_path / "a/b/c")
    assert (tmp_path / "a/b/c").is_dir()
