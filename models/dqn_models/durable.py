"""Writes that survive a kill or a power cut at any instant: they become visible only once complete and on disk.

On macOS a power cut may lose the last writes, because fsync leaves bytes in the drive's cache.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from dqn_models.errors import RepositoryError

_LOCK_POLL_SECONDS = 0.02
_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_NO_HARD_LINKS = _UNSUPPORTED | {errno.EPERM, errno.EACCES, errno.EMLINK, errno.EXDEV}
_NO_LOCKS = _UNSUPPORTED | {errno.ENOLCK}
_FOR_ALL = 0o666  # as far as the umask allows


def sync_directory(path: Path) -> None:
    """Makes the names in a directory durable if its file system can (CIFS and some shared folders cannot)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Makes a file's contents durable, whichever process wrote them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Creates a directory and any missing parents durably."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


def write_file(path: Path, data: bytes) -> None:
    """Writes a file and waits until its contents are on disk. Its name is not yet durable."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_temporary(path: Path, data: bytes) -> Path:
    """Writes `data` durably to a temporary file next to `path`, ready for `rename` or `link`."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        write_file(temporary, data)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def commit_new(temporary: Path, path: Path) -> None:
    """Gives a temporary file its final name atomically; raises FileExistsError if the name is taken."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if path.exists():  # two steps on file systems without links: the caller's lock makes them atomic
            raise FileExistsError(f"{path} exists already.") from error
        temporary.rename(path)
    temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def commit_replace(temporary: Path, path: Path) -> None:
    """Gives a temporary file its final name atomically, replacing an existing file."""
    temporary.replace(path)
    sync_directory(path.parent)


def append_line(path: Path, line: bytes) -> None:
    """Appends one line durably; a torn last line (from a kill) is closed first, and a failed write is taken back."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, _FOR_ALL)
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


def overwrite(path: Path, offset: int, data: bytes) -> None:
    """Overwrites the bytes at `offset` durably; empty `data` truncates the file there instead."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        if data:
            os.pwrite(descriptor, data, offset)
        else:
            os.ftruncate(descriptor, offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def exclusive_lock(path: Path, holder: str, wait_seconds: float) -> Iterator[None]:
    """Holds an advisory lock that the kernel frees when the process ends, however it ends.

    Creates the directory if it is missing; the holder may remove the lock file. Raises RepositoryError if the lock is
    still taken after `wait_seconds` (`holder` names the likely holder in the message), or if the file system does not
    support locks.
    """
    deadline = time.monotonic() + wait_seconds
    while (descriptor := _try_lock(path)) is None:
        if time.monotonic() >= deadline:
            raise RepositoryError(f"{path.parent} is locked: {holder} is running there.")
        time.sleep(_LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, _FOR_ALL)
    except PermissionError:
        if not path.exists():
            raise
        return os.open(path, os.O_RDONLY)  # another user's file: read access is enough for a lock


def _try_lock(path: Path) -> int | None:
    """The descriptor of the locked file; None if another process holds the lock or has just removed the file."""
    is_new = not path.parent.exists()
    try:
        make_directory(path.parent)
        descriptor = _open_lock(path)
    except FileNotFoundError:
        return None
    except OSError:  # such as a full disk
        if is_new:
            with contextlib.suppress(OSError):
                path.parent.rmdir()
        raise
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError as error:
        os.close(descriptor)
        if error.errno not in _NO_LOCKS:
            raise
        raise RepositoryError(
            f"{path.parent} is on a file system without locks ({error.strerror}), so writers would interfere with each "
            "other. Mount it with locks (NFS: run rpc.statd, or use local_lock=flock if only one machine writes), or "
            "use another directory."
        ) from error
    os.close(descriptor)
    return None
