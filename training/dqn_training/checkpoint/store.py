"""The checkpoint on disk: one file that is replaced atomically, and a folder with blocks of large arrays.

The file starts with a line that contains the SHA-256 of the rest, an .npz archive of the arrays and of `document`, the
state as JSON with references in place of arrays. Large rings are split into blocks of rows, each an immutable file: a
block with new rows is written under another name, and the old one is removed once the new checkpoint is complete. So a
kill at any instant leaves the last checkpoint intact, and a checkpoint costs only what has changed since the last one.
"""

import contextlib
import hashlib
import io
import json
import shutil
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dqn_models import durable
from dqn_training.checkpoint.values import Ring, State, decode, encode

_FORMAT = b"dqn-checkpoint-2"
_BLOCK_BYTES = 2**22
_SMALL_BYTES = 2**20


class CheckpointError(ValueError):
    """A checkpoint is damaged or belongs to another run."""


class CheckpointFile:
    """Reads and writes the checkpoint of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._blocks = _Blocks(path.with_name(f"{path.name}-blocks"))
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._settling: Future[None] | None = None

    def write(self, state: State) -> None:
        """Replaces the checkpoint; the state may change once this returns. Raises OSError, e.g. if the disk is full.

        A thread waits for the disk, and `settle` for the thread. Until then, and after an error, the previous
        checkpoint is unchanged.
        """
        self.settle()
        arrays: dict[str, NDArray[Any]] = {}
        try:
            encoded = encode(state, "run", arrays, self._blocks.write)
            document = {"state": encoded, "blocks": self._blocks.document()}
            arrays["document"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
            buffer = io.BytesIO()
            np.savez(buffer, **arrays)  # type: ignore[arg-type]  # its stub mistakes the names for its options
        except OSError:
            self._blocks.abort()
            raise
        self._settling = self._thread.submit(self._commit, buffer.getvalue())

    def settle(self, *, wait: bool = True) -> bool:
        """Whether no write is in progress, after waiting for it with `wait`. Raises the OSError of a failed write."""
        if self._settling is not None and (wait or self._settling.done()):
            done, self._settling = self._settling, None
            done.result()
        return self._settling is None

    def _commit(self, body: bytes) -> None:
        try:
            self._blocks.sync()
            temporary = durable.write_temporary(self.path, _head(body) + body)
        except OSError:
            self._blocks.abort()
            raise
        durable.commit_replace(temporary, self.path)
        self._blocks.commit()
        self._sweep()

    def read(self) -> State | None:
        """The last checkpoint, or None. Raises CheckpointError if it is damaged."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        head, body = data[: len(_head(b""))], data[len(_head(b"")) :]
        if head != _head(body):
            known = data.startswith(_FORMAT)
            raise self._damaged("its checksum does not match" if known else "this release does not know its format")
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            document = json.loads(arrays["document"].tobytes())
            self._blocks.open(document["blocks"])
            try:
                state: State = decode(document["state"], arrays, self._blocks.read)
            except OSError as error:
                raise self._damaged(str(error)) from error
        return state

    def remove(self) -> None:
        """Removes the checkpoint, which a finished run no longer needs."""
        with contextlib.suppress(OSError):
            self.settle()
        self.path.unlink(missing_ok=True)
        self._sweep()
        shutil.rmtree(self._blocks.folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Removes what a kill during a write left behind."""
        for left in self.path.parent.glob(f".{self.path.name}.*.tmp"):
            left.unlink(missing_ok=True)

    def _damaged(self, reason: str) -> CheckpointError:
        return CheckpointError(f"{self.path} is damaged: {reason}. Remove it to restart the run from the beginning.")


def _head(body: bytes) -> bytes:
    return b"%s %s\n" % (_FORMAT, hashlib.sha256(body).hexdigest().encode())


class _Stored(NamedTuple):
    """A checkpoint's record of a ring."""

    shape: list[int]
    dtype: Any  # as the .npy format describes it, in JSON
    written: int
    mutable_tail: int
    blocks: dict[str, list[Any]]  # number of the block -> name of its file, its CRC-32


class _Blocks:
    """The rings of the last checkpoint and, while it is being written, of the next one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._generation = 0
        self._last: dict[str, _Stored] = {}
        self._next: dict[str, _Stored] = {}
        self._new: list[Path] = []

    def document(self) -> dict[str, Any]:
        """The next checkpoint's record of its rings, as JSON."""
        return {"generation": self._generation + 1, "rings": self._next}

    def open(self, document: dict[str, Any]) -> None:
        """Loads the last checkpoint's record of its rings."""
        self._generation = document["generation"]
        self._last = {name: _Stored(*stored) for name, stored in document["rings"].items()}

    def read(self, name: str) -> NDArray[Any]:
        """A ring's array; rows that were never written are zero. Raises OSError if a file is damaged or missing."""
        stored = self._last[name]
        array = np.zeros(stored.shape, _dtype(stored.dtype))
        for number, (file, crc32) in stored.blocks.items():
            block = _block(array, int(number))
            path = self.folder / file
            with path.open("rb") as opened:
                if opened.readinto(block) != len(block) or opened.read(1) or zlib.crc32(block) != crc32:
                    raise OSError(f"{path} has the wrong content")
        return array

    def write(self, name: str, ring: Ring) -> bool:
        """Writes a ring's new rows, not yet durably; returns False if it is small, for the caller to write whole."""
        array = ring.array
        if array.nbytes < _SMALL_BYTES:
            return False
        last = self._last.get(name)
        blocks = dict(last.blocks) if last else {}
        first = max(0, last.written - last.mutable_tail) if last else 0
        durable.make_directory(self.folder)
        for number in _touched(array, first, ring.written):
            path = self.folder / f"{name}.{number}.{self._generation + 1}"
            self._new.append(path)
            block = _block(array, number)
            path.write_bytes(block)
            blocks[str(number)] = [path.name, zlib.crc32(block)]
        self._next[name] = _Stored(
            list(array.shape), np.lib.format.dtype_to_descr(array.dtype), ring.written, ring.mutable_tail, blocks
        )
        return True

    def sync(self) -> None:
        """Makes the written blocks durable."""
        for path in self._new:
            durable.sync_file(path)
        if self._new:
            durable.sync_directory(self.folder)

    def abort(self) -> None:
        """Removes the blocks written for an abandoned checkpoint."""
        for path in self._new:
            path.unlink(missing_ok=True)
        self._next, self._new = {}, []

    def commit(self) -> None:
        """Makes the next checkpoint the last one, and removes blocks that it does not need."""
        self._generation, self._last = self._generation + 1, self._next
        self._next, self._new = {}, []
        needed = {file for stored in self._last.values() for file, _ in stored.blocks.values()}
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.name not in needed:
                path.unlink(missing_ok=True)


def _rows(array: NDArray[Any]) -> int:
    """Number of rows in a block."""
    return max(1, _BLOCK_BYTES * len(array) // array.nbytes)


def _block(array: NDArray[Any], number: int) -> memoryview:
    """The bytes of a block, which share the array's memory."""
    rows = _rows(array)
    return array[number * rows : (number + 1) * rows].reshape(-1).view(np.uint8).data


def _dtype(described: Any) -> np.dtype[Any]:
    """The dtype from its description, in which JSON has turned tuples into lists."""
    if isinstance(described, str):
        return np.dtype(described)
    fields = [(name, dtype, tuple(*shape)) for name, dtype, *shape in described]
    found: np.dtype[Any] = np.lib.format.descr_to_dtype(fields)
    return found


def _touched(array: NDArray[Any], first: int, end: int) -> list[int]:
    """The blocks that contain rows `first` to `end`, which count all rows ever written."""
    rows = np.arange(max(first, end - len(array)), end) % len(array)
    blocks: list[int] = np.unique(rows // _rows(array)).tolist()
    return blocks
