"""TensorBoard event files; needs the extra `tensorboard`."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from dqn_training.tracking.metrics_csv import Row
from dqn_training.tracking.recorder import Outcome


class TensorBoardTracker:
    """Writes every scalar by environment steps. After a failure, reported once, nothing more is written."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writer: SummaryWriter | None = None

    def begin(self, first_step: int) -> None:
        """Opens a new event file, which makes TensorBoard discard earlier entries from `first_step` on."""
        purge = first_step if self._directory.exists() else None
        with self._surviving():
            self._writer = SummaryWriter(str(self._directory), purge_step=purge)

    def log(self, row: Row) -> None:
        """Passes the row to the writer's thread."""
        if self._writer is None:
            return
        step = int(row["env_steps"] or 0)
        with self._surviving():
            for name, value in row.items():
                if value is not None:
                    self._writer.add_scalar(name, value, step)

    def close(self, _outcome: Outcome | None) -> None:
        """Waits until everything is written."""
        if self._writer is not None:
            with self._surviving():
                self._writer.close()

    @contextlib.contextmanager
    def _surviving(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = None
            sentence = f"{self._directory} cannot be written: {error}. TensorBoard gets no more rows."
            print(f"warning: {sentence}", file=sys.stderr)
