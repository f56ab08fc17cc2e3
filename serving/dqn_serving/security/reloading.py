"""Small files that are reloaded when they change: tokens and certificates are replaced without a restart."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from dqn_serving.telemetry.metrics import OUTCOMES, Counts
from dqn_serving.telemetry.shared_memory import WorkerSegment

POLL_SECONDS = 1.0
_MAX_BYTES = 1024 * 1024

log = structlog.get_logger()


class ReloadedFiles:
    """Files that belong together; if new ones are invalid, the old contents remain in effect."""

    def __init__(self, kind: str, paths: Sequence[Path], accept: Callable[..., None], segment: WorkerSegment) -> None:
        """`accept` applies the contents, bytes for each path; it raises ValueError or OSError if they are invalid.

        `kind` names the files in the log and in `dqn_file_reloads_total`.
        """
        self.kind = kind
        self._paths = paths
        self._accept = accept
        self._contents: list[bytes] | None = None
        self._failure: str | None = None
        self._outcomes = Counts(segment, "file_reloads", kind, labels=OUTCOMES)

    def poll(self) -> None:
        """Reads the files and applies their contents if they have changed; a failure is logged once."""
        try:
            contents = [read_small(path) for path in self._paths]
            if contents != self._contents:
                is_first, self._contents = self._contents is None, contents
                self._accept(*contents)
                if not is_first:
                    self._outcomes.add("success")
                    log.info("file reloaded", kind=self.kind, files=[str(path) for path in self._paths])
            self._failure = None  # the next failure is logged again
        except (OSError, ValueError) as error:
            self._note_failure(str(error))

    async def poll_in_thread(self) -> None:
        """Polls in a thread: a network file system may be slow."""
        await asyncio.to_thread(self.poll)

    def _note_failure(self, failure: str) -> None:
        if failure != self._failure:
            self._failure = failure
            self._outcomes.add("failure")
            remedy = "the previous contents remain in effect"
            log.error("file not reloaded", kind=self.kind, reason=failure, remedy=remedy)


def read_small(path: Path) -> bytes:
    """The contents of a regular file of at most 1 MiB. Raises OSError with a sentence."""
    if not path.is_file():
        raise OSError(f"{path} is not a file that can be read.")
    try:
        with path.open("rb") as file:
            contents = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror or error}.") from None
    if len(contents) > _MAX_BYTES:
        raise OSError(f"{path} is larger than {_MAX_BYTES} bytes.")
    return contents
