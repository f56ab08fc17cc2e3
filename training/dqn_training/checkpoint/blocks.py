"""The large arrays of a checkpoint, in blocks: files of a few megabytes that never change once they are written."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dqn_models import durable
from dqn_training.checkpoint.captures import Ring

_BLOCK_BYTES = 2**22
_SMALL_BYTES = 2**20


class _Stored(NamedTuple):
    """What a checkpoint has of a ring."""

    shape: list[int]
    dtype: str
    written: int
    behind: int
    blocks: dict[str, list[Any]]  # number of the block -> name of its file, its CRC-32


class Blocks:
    """The rings of the last checkpoint, and of the next one while it is being written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._generation = 0
        self._last: dict[str, _Stored] = {}
        self._next: dict[str, _Stored] = {}
        self._new: list[Path] = []

    def document(self) -> dict[str, Any]:
        """What the next checkpoint must say of its rings, as JSON."""
        return {"generation": self._generation + 1, "rings": self._next}

    def open(self, document: dict[str, Any]) -> None:
        """Takes over what the last checkpoint says of its rings."""
        self._generation = document["generation"]
        self._last = {name: _Stored(*stored) for name, stored in document["rings"].items()}

    def read(self, name: str) -> NDArray[Any]:
        """A ring's array; rows that were never written are zero. Raises OSError when a file is damaged or missing."""
        stored = self._last[name]
        array = np.zeros(stored.shape, stored.dtype)
        for number, (file, crc32) in stored.blocks.items():
            block = _block(array, int(number))
            path = self.folder / file
            with path.open("rb") as opened:
                if opened.readinto(block) != len(block) or opened.read(1) or zlib.crc32(block) != crc32:
                    raise OSError(f"{path} does not have the content that it should have")
        return array

    def begin(self) -> None:
        """Begins the next checkpoint."""
        self._next, self._new = {}, []

    def write(self, name: str, ring: Ring) -> bool:
        """Writes what is new in a ring, not yet durably; False for a small one, which the caller is to write whole."""
        array = ring.array
        if array.nbytes < _SMALL_BYTES:
            return False
        last = self._last.get(name)
        blocks = dict(last.blocks) if last else {}
        first = last.written - last.behind if last else 0
        durable.make_directory(self.folder)
        for number in _touched(array, max(first, 0), ring.written):
            path = self.folder / f"{name}.{number}.{self._generation + 1}"
            self._new.append(path)
            block = _block(array, number)
            path.write_bytes(block)
            blocks[str(number)] = [path.name, zlib.crc32(block)]
        self._next[name] = _Stored(list(array.shape), array.dtype.str, ring.written, ring.behind, blocks)
        return True

    def sync(self) -> None:
        """Makes what was written durable."""
        for path in self._new:
            durable.sync_file(path)
        if self._new:
            durable.sync_directory(self.folder)

    def abort(self) -> None:
        """Removes what was written for the next checkpoint, which will not be."""
        for path in self._new:
            path.unlink(missing_ok=True)

    def commit(self) -> None:
        """The next checkpoint is the last one now; what it does not need is removed."""
        self._generation, self._last = self._generation + 1, self._next
        needed = {file for stored in self._last.values() for file, _ in stored.blocks.values()}
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.name not in needed:
                path.unlink(missing_ok=True)


def _rows(array: NDArray[Any]) -> int:
    """How many rows a block has."""
    return max(1, _BLOCK_BYTES * len(array) // array.nbytes)


def _block(array: NDArray[Any], number: int) -> memoryview:
    """The bytes of a block, which share the array's memory."""
    rows = _rows(array)
    return array[number * rows : (number + 1) * rows].data.cast("B")


def _touched(array: NDArray[Any], first: int, end: int) -> Iterator[int]:
    """The blocks that have one of the rows written from `first` to `end`, both counted from the beginning of time."""
    rows, length = _rows(array), len(array)
    if end - first >= length:
        first, end = 0, min(end, length)
    touched = set()
    while first < end:
        row = first % length
        block_end = min((row // rows + 1) * rows, length)
        touched.add(row // rows)
        first += block_end - row
    return iter(sorted(touched))
