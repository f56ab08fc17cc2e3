"""One trained policy for all tests that need one, in all test processes."""

import fcntl
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from dqn_testing.commands import QUICK, result


class Trained(NamedTuple):
    """The result of `dqn-train` with the flags QUICK; tests read it, and copy it to make changes."""

    repository: Path
    manifest: dict[str, Any]  # of version 1 of `cartpole`

    def copy(self, to: Path) -> Path:
        """A separate repository with this version, which is the champion."""
        return Path(shutil.copytree(self.repository, to, dirs_exist_ok=True))


def train_once(folder: Path) -> Trained:
    """Trains in the folder, which all processes of a test run share; the first trains while the others wait."""
    repository, manifest = folder / "trained", folder / "trained.json"
    with (folder / "trained.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not manifest.exists():
            made = result(
                "dqn-train", "--repository", repository, "--run-dir", folder / "trained-run", *QUICK, is_fresh=True
            )
            manifest.write_text(json.dumps(made))
    return Trained(repository, json.loads(manifest.read_text()))
