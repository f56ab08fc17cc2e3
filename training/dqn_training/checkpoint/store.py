"""The checkpoint on disk: one file that is replaced atomically, and the blocks of large arrays in a folder.

The file begins with a line that holds the SHA-256 of the rest, which is an .npz archive: the arrays, and `document`,
the state as JSON with references in place of arrays. Large rings are cut into blocks of rows, each a file that never
changes: where rows are new the block is written again under another name, and the old one goes once the new checkpoint
is there. So a kill at any instant leaves the last checkpoint whole, and one costs what changed since the last.
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
    """A checkpoint that is damaged or belongs to another run."""


class CheckpointFile:
    """Reads and writes the checkpoint of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._blocks = _Blocks(path.with_name(f"{path.name}-blocks"))
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._settling: Future[None] | None = None

    def write(self, state: State) -> None:
        """Replaces the checkpoint; when it returns the state may change. Raises OSError, such as for a full disk.

        A thread waits for the disk, and `settle` for the thread. Until then, and after an error, the last
        checkpoint is as it was.
        """
        self.settle()
        arrays: dict[str, NDArray[Any]] = {}
        try:
            encoded = encode(state, "run", arrays, self._blocks.write)
            document = {"state": encoded, "blocks": self._blocks.document()}
            arrays["document"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
            buffer = io.BytesIO()
            np.savez(buffer, **arrays)  # type: ignore[arg-type]  # its stub takes the names for its options
        except OSError:
            self._blocks.abort()
            raise
        self._settling = self._thread.submit(self._commit, buffer.getvalue())

    def settle(self, *, wait: bool = True) -> bool:
        """Whether nothing is being written, after waiting for it if asked. Raises the OSError that ended a write."""
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
        """The last checkpoint; None if there is none. Raises CheckpointError when it is damaged."""
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
        """Removes the checkpoint, which a finished run needs no longer."""
        with contextlib.suppress(OSError):
            self.settle()
        self.path.unlink(missing_ok=True)
        self._sweep()
        shutil.rmtree(self._blocks.folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Removes what a kill in the middle of a write left."""
        for left in self.path.parent.glob(f".{self.path.name}.*.tmp"):
            left.unlink(missing_ok=True)

    def _damaged(self, reason: str) -> CheckpointError:
        return CheckpointError(
            f"{self.path} is damaged: {reason}. Without it (remove it) the run starts from the beginning."
        )


def _head(body: bytes) -> bytes:
    return b"%s %s\n" % (_FORMAT, hashlib.sha256(body).hexdigest().encode())


class _Stored(NamedTuple):
    """What a checkpoint has of a ring."""

    shape: list[int]
    dtype: Any  # as the .npy format describes it, in JSON
    written: int
    mutable_tail: int
    blocks: dict[str, list[Any]]  # number of the block -> name of its file, its CRC-32


class _Blocks:
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
        array = np.zeros(stored.shape, _dtype(stored.dtype))
        for number, (file, crc32) in stored.blocks.items():
            block = _block(array, int(number))
            path = self.folder / file
            with path.open("rb") as opened:
                if opened.readinto(block) != len(block) or opened.read(1) or zlib.crc32(block) != crc32:
                    raise OSError(f"{path} does not have the content that it should have")
        return array

    def write(self, name: str, ring: Ring) -> bool:
        """Writes what is new in a ring, not yet durably; False for a small one, which the caller must write whole."""
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
        """Makes what was written durable."""
        for path in self._new:
            durable.sync_file(path)
        if self._new:
            durable.sync_directory(self.folder)

    def abort(self) -> None:
        """Removes what was written for the next checkpoint, which will not be."""
        for path in self._new:
            path.unlink(missing_ok=True)
        self._next, self._new = {}, []

    def commit(self) -> None:
        """The next checkpoint is the last one now; what it does not need is removed."""
        self._generation, self._last = self._generation + 1, self._next
        self._next, self._new = {}, []
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
    return array[number * rows : (number + 1) * rows].reshape(-1).view(np.uint8).data


def _dtype(described: Any) -> np.dtype[Any]:
    """The dtype of its description; JSON made lists of the tuples in it."""
    if isinstance(described, str):
        return np.dtype(described)
    fields = [(name, dtype, tuple(*shape)) for name, dtype, *shape in described]
    found: np.dtype[Any] = np.lib.format.descr_to_dtype(fields)
    return found


def _touched(array: NDArray[Any], first: int, end: int) -> list[int]:
    """The blocks that have one of the rows written from `first` to `end`, both counted from the beginning of time."""
    rows = np.arange(max(first, end - len(array)), end) % len(array)
    blocks: list[int] = np.unique(rows // _rows(array)).tolist()
    return blocks
