"""The checkpoint on disk: one file that is replaced in one step, and beside it the blocks of large arrays.

The file begins with a line that holds the SHA-256 of the rest, which is an .npz archive: the arrays, and `document`,
the capture as JSON with references in place of arrays. Large rings are cut into blocks of rows, each a file that never
changes: where rows are new the block is written again under another name, and the old one goes once the new checkpoint
is there. So a kill at any instant leaves the last checkpoint whole, and one costs what changed since the last.
"""

import contextlib
import hashlib
import io
import json
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dqn_models import durable
from dqn_training.checkpoint.blocks import Blocks
from dqn_training.checkpoint.captures import Capture
from dqn_training.checkpoint.values import Decoder, Encoder

_FORMAT = b"dqn-checkpoint-1"


class CheckpointError(ValueError):
    """A checkpoint that is damaged or belongs to another run."""


class CheckpointFile:
    """Reads and writes the checkpoint of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._blocks = Blocks(path.with_name(f"{path.name}-blocks"))
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._settling: Future[None] | None = None

    def write(self, capture: Capture) -> None:
        """Replaces the checkpoint; when it returns the state may change. Raises OSError, such as for a full disk.

        To wait for the disk is left to a thread: `settle` tells of its end. Until then, and after an error, the last
        checkpoint is as it was.
        """
        self.settle()
        self._blocks.begin()
        try:
            encoder = Encoder(self._blocks.write)
            document = {"capture": encoder.encode(capture, "run"), "blocks": self._blocks.document()}
            encoder.arrays["document"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
            buffer = io.BytesIO()
            np.savez(buffer, **encoder.arrays)  # type: ignore[arg-type]  # its stub takes the names for its options
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

    def read(self) -> Capture | None:
        """The last checkpoint; None if there is none. Raises CheckpointError when it is damaged."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        head, body = data[: len(_head(b""))], data[len(_head(b"")) :]
        if head != _head(body):
            raise self._damaged("its content does not have the checksum that it should have")
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            document = json.loads(arrays["document"].tobytes())
            self._blocks.open(document["blocks"])
            try:
                capture: Capture = Decoder(dict(arrays), self._blocks.read).decode(document["capture"])
            except OSError as error:
                raise self._damaged(str(error)) from error
        return capture

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
