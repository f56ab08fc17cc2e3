"""The files of a log: finding, locking and sealing them, and removing the oldest if space is short.

log/20261127T173003.118274-plant1-7f3a91c2.live      written by a process that holds the lock of the same name
log/20261127T172502.904310-plant1-03bd11fe.sqlite    sealed: no process writes it, and it never changes
"""

import contextlib
import fcntl
import os
import re
import secrets
import socket
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

from dqn_experience.log import database
from dqn_experience.log.database import LIVE, SEALED
from dqn_models import durable

LOCK = ".lock"
_SIDECARS = ("-wal", "-shm", "-journal")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.]+")


class LogFile(NamedTuple):
    """A file of the log."""

    path: Path
    sealed: bool
    size: int
    """In bytes, including SQLite's side files."""


def log_folder(store: Path) -> Path:
    """The folder of a store's log."""
    return store / "log"


def log_files(store: Path) -> list[LogFile]:
    """The files of a log, the oldest first; none if there is no store."""
    found = []
    for path in sorted(log_folder(store).glob("[!.]*")):
        if path.suffix in {LIVE, SEALED}:
            with contextlib.suppress(FileNotFoundError):  # sealed or removed meanwhile
                found.append(LogFile(path, path.suffix == SEALED, size_of(path)))
    return found


def size_of(path: Path) -> int:
    """The bytes of a log file, including SQLite's side files."""
    size = path.stat().st_size
    for suffix in _SIDECARS:
        with contextlib.suppress(FileNotFoundError):
            size += path.with_name(path.name + suffix).stat().st_size
    return size


def new_path(store: Path, node: str = "") -> Path:
    """The path of a new log file: names sort by creation time."""
    shown = _NOT_IN_NAMES.sub("-", node or socket.gethostname())[:48]
    now = time.time_ns()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 10**9))
    return log_folder(store) / f"{stamp}.{now // 1000 % 10**6:06}-{shown}-{secrets.token_hex(4)}{LIVE}"


def hold(path: Path) -> int | None:
    """Locks a log file for this process, until the descriptor is closed; None if another process is writing it.

    The lock is on a separate file: closing any descriptor of a database would release SQLite's own locks on it.
    """
    lock = path.with_suffix(LOCK)
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                return descriptor
        os.close(descriptor)  # `adopt` removed it between opening and locking


def seal(connection: sqlite3.Connection, path: Path) -> bool:
    """Makes a live file immutable under its final name and closes the connection; returns whether that succeeded.

    It fails while somebody reads the file: then `adopt` does it later.
    """
    with contextlib.closing(connection):
        connection.execute("INSERT INTO seals VALUES (NULL, ?)", (time.time_ns() // 1_000_000,))
        try:
            connection.execute("PRAGMA busy_timeout=0")
            mode = connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0]  # moves the log into the database
        except sqlite3.OperationalError:
            return False
        if mode != "delete":
            return False
    path.rename(path.with_suffix(SEALED))
    path.with_suffix(LOCK).unlink(missing_ok=True)
    durable.sync_directory(path.parent)
    return True


def adopt(store: Path) -> list[Path]:
    """Seals the live files of dead processes and returns those sealed; others stay as they are."""
    sealed = []
    for file in log_files(store):
        if file.sealed:
            continue
        try:
            lock = hold(file.path)
        except OSError:
            continue  # not ours to write, or not on this file system: readers read it as it is
        if lock is None:
            continue
        try:
            if file.path.exists() and _adopted(file.path):
                sealed.append(file.path.with_suffix(SEALED))
        except (sqlite3.Error, OSError):
            continue  # damaged, or the disk is full: readers say which
        finally:
            if not file.path.exists():
                file.path.with_suffix(LOCK).unlink(missing_ok=True)
            os.close(lock)
    _remove_orphaned_locks(log_folder(store))
    return sealed


def _remove_orphaned_locks(folder: Path) -> None:
    """Removes the locks of processes that died before they created the file or after they sealed it."""
    for path in folder.glob(f"*{LOCK}"):
        live = path.with_suffix(LIVE)
        with contextlib.suppress(OSError):
            if live.exists() or (lock := hold(live)) is None:
                continue
            if not live.exists():
                path.unlink(missing_ok=True)
            os.close(lock)


def _adopted(path: Path) -> bool:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    try:
        empty = database.is_empty(connection)
    except BaseException:
        connection.close()
        raise
    if not empty:
        return seal(connection, path)
    connection.close()
    remove(path)
    return False


def remove(path: Path) -> None:
    """Removes a log file with its side files."""
    for suffix in ("", *_SIDECARS):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.with_suffix(LOCK).unlink(missing_ok=True)


def enforce_quota(store: Path, quota: int) -> list[Path]:
    """Removes the oldest sealed files until the log has at most `quota` bytes; returns those removed."""
    found = log_files(store)
    size, removed = sum(file.size for file in found), []
    for file in found:
        if size <= quota:
            break
        if file.sealed:
            remove(file.path)
            size -= file.size
            removed.append(file.path)
    return removed
