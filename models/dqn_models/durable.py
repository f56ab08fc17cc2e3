"""Writes that survive a kill or a power cut at any instant: visible only once they are complete and on the disk."""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from dqn_models.errors import RepositoryError

_LOCK_POLL_SECONDS = 0.02
_NO_HARD_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS}


def sync_directory(path: Path) -> None:
    """Makes the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Makes the bytes of a file durable, whoever wrote them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Makes a directory and its parents, where they are missing, so that they last."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


def write_file(path: Path, data: bytes) -> None:
    """Writes a file and waits until its bytes are on the disk. The name itself is not yet durable."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_temporary(path: Path, data: bytes) -> Path:
    """Writes `data` durably under a temporary name beside `path`, ready for `rename` or `link`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write_file(temporary, data)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def commit_new(temporary: Path, path: Path) -> None:
    """Gives a temporary file its final name in one step; raises FileExistsError where the name is taken."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if path.exists():  # two steps where the file system knows no links: the caller's lock makes them one
            raise FileExistsError(f"{path} exists already.") from error
        temporary.rename(path)
    temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def commit_replace(temporary: Path, path: Path) -> None:
    """Gives a temporary file its final name in one step, in place of what was there."""
    temporary.replace(path)
    sync_directory(path.parent)


def append_line(path: Path, line: bytes) -> None:
    """Appends one line durably; a torn last line (from a kill) is closed first, and a failed write is taken back."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        data = (b"\n" if torn else b"") + line + b"\n"
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
    sync_directory(path.parent)


@contextlib.contextmanager
def exclusive_lock(path: Path, holder: str, wait_seconds: float) -> Iterator[None]:
    """Holds an advisory lock that the kernel frees when the process ends, however it ends.

    Raises RepositoryError when somebody else still holds it after `wait_seconds`; `holder` says in the message who
    that would be.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise RepositoryError(f"{path.parent} is locked: {holder} is at work there.") from None
                time.sleep(_LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)
