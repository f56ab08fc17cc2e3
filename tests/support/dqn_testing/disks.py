"""Small file systems, to fill them up or make them read-only."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = os.sysconf("SC_PAGESIZE")


def mount(*arguments: str) -> None:
    """Runs `mount`; skips the test if this user is not allowed to, which in CI is a failure."""
    done = subprocess.run(["/bin/mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode and "CI" not in os.environ:
        pytest.skip(f"needs the right to mount a small file system: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def small_file_system(disk: Path, pages: int) -> Iterator[Path]:
    """A file system of this many pages, in a new directory."""
    disk.mkdir()
    mount("-t", "tmpfs", "-o", f"size={pages * PAGE}", "tmpfs", str(disk))
    try:
        yield disk
    finally:
        subprocess.run(["/bin/umount", str(disk)], check=True)


def fill(disk: Path, free_pages: int) -> None:
    """Writes a file that leaves this many pages of the disk."""
    with (disk / "filler").open("wb") as filler:
        filler.write(bytes((os.statvfs(disk).f_bavail - free_pages) * PAGE))
