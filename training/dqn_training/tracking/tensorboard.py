"""TensorBoard event files; needs the extra `tensorboard`."""

import sys
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from dqn_training.tracking.recorder import Outcome
from dqn_training.tracking.scalars import Row


class TensorBoardTracker:
    """Writes every scalar over the environment steps. A failure is reported once and ends only this."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writer: SummaryWriter | None = None

    def begin(self, first_step: int) -> None:
        """Opens a new event file, which makes TensorBoard forget what earlier ones have from `first_step` on."""
        purge = first_step if self._directory.exists() else None
        try:
            self._writer = SummaryWriter(str(self._directory), purge_step=purge)
        except OSError as error:
            self._give_up(error)

    def log(self, row: Row) -> None:
        """Hands the row to the writer's thread."""
        if self._writer is None:
            return
        step = int(row["env_steps"] or 0)
        try:
            for name, value in row.items():
                if value is not None:
                    self._writer.add_scalar(name, value, step)
        except OSError as error:
            self._give_up(error)

    def close(self, _outcome: Outcome | None) -> None:
        """Waits until all is written."""
        try:
            if self._writer is not None:
                self._writer.close()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._writer = None
        print(f"warning: {self._directory} cannot be written: {error}. TensorBoard gets no more rows.", file=sys.stderr)
