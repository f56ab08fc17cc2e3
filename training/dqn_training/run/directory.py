"""The directory of a run: its description, checkpoint, logs and result.

run.json          description: settings, names, versions; written first and never changed
checkpoint        state of the run; checkpoint-blocks/ has the large parts; both are removed when the run finishes
metrics.csv       metrics, one row per record
tensorboard/      the same for TensorBoard
mlflow.json       the run of an MLflow tracking server that has the same
result.json       manifest of the version that the run, or its round, published; written last: marks the run as finished
"""

import contextlib
import dataclasses
import itertools
import json
import os
import platform
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dqn_models import cli_support, durable
from dqn_models.errors import wrap_os_errors
from dqn_training.config import DQNConfig
from dqn_training.evaluation.gate import Rule

DEFAULT_RUNS = "runs"
_LIBRARIES = ("torch", "gymnasium", "numpy", "onnx", "onnxruntime")


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that determine a policy."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def git_commit() -> str | None:
    """The Git commit of the working directory, if any."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None


@dataclasses.dataclass(frozen=True)
class RunDescription:
    """The fields of run.json: what the run was started with."""

    name: str  # of the model
    preset: str
    config: dict[str, Any]  # every field of DQNConfig
    repository: str  # absolute, or relative to the run's directory
    gate: Rule
    command: list[str] = dataclasses.field(default_factory=lambda: sys.argv)
    libraries: dict[str, str] = dataclasses.field(default_factory=library_versions)
    checkpoint_seconds: float = 10.0
    parent: int | None = None  # the version of a warm start
    id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    started_at: str = dataclasses.field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


class RunDirectory:
    """A run's directory, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.description = path / "run.json"
        self.checkpoint = path / "checkpoint"
        self.metrics = path / "metrics.csv"
        self.tensorboard = path / "tensorboard"
        self.mlflow = path / "mlflow.json"
        self.result = path / "result.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Creates and locks the directory; the lock is released when the process ends, however it ends.

        An interrupt within the block explains how to resume the run, unless it has finished. Raises RepositoryError if
        the directory cannot be created or another process holds the lock.
        """
        with contextlib.ExitStack() as stack:
            with wrap_os_errors(f"use {self.path} as the run directory (set another with --run-dir)"):
                stack.enter_context(durable.exclusive_lock(self.path / ".lock", "another dqn-train", 0.0))
            try:
                yield
            except KeyboardInterrupt as interrupt:
                if not self.description.exists() or self.result.exists():
                    raise
                raise KeyboardInterrupt(f"{interrupt} {self.how_to_resume()}") from None

    def resolve(self, repository: str) -> Path:
        """The path of the repository in run.json, which may be relative to this directory."""
        return (self.path / repository).resolve()

    def how_to_resume(self) -> str:
        """A sentence with the command that resumes this run."""
        return f"Resume it with: dqn-train --resume {self.path}"

    def check_new(self) -> None:
        """Raises UsageError if there already is a run in this directory."""
        if self.description.exists():
            raise cli_support.UsageError(
                f"{self.path} already holds a run: resume it with --resume {self.path}, or choose another --run-dir."
            )

    def begin(self, repository: Path, config: DQNConfig, **others: Any) -> RunDescription:
        """Writes run.json; `others` are its other fields. The caller holds the lock.

        A relative repository path is stored relative to this directory, so that both can be moved together. Raises
        UsageError if there already is a run here.
        """
        self.check_new()
        if not repository.is_absolute():
            repository = Path(os.path.relpath(repository.resolve(), self.path.resolve()))
        description = RunDescription(repository=str(repository), config=config.to_json(), **others)
        self._write(self.description, json.dumps(dataclasses.asdict(description), indent=2))
        return description

    def read_description(self) -> RunDescription:
        """The contents of run.json. Raises UsageError if it is missing or unreadable."""
        try:
            values = json.loads(self.description.read_bytes())
            known = [field.name for field in dataclasses.fields(RunDescription)]
            return RunDescription(**{name: values[name] for name in known if name in values})
        except FileNotFoundError as error:
            raise cli_support.UsageError(f"{self.path} is not a run directory: run.json is missing.") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise cli_support.UsageError(f"{self.description} cannot be read: {error!r}.") from error

    def finish(self, result: dict[str, Any]) -> None:
        """Writes result.json."""
        self._write(self.result, json.dumps(result))

    def _write(self, path: Path, text: str) -> None:
        with wrap_os_errors(f"write {path}"):
            durable.commit_replace(durable.write_temporary(path, f"{text}\n".encode()), path)

    def read_result(self) -> dict[str, Any] | None:
        """The contents of result.json; None if the run has not finished."""
        return json.loads(self.result.read_bytes()) if self.result.exists() else None


def runs_directory() -> Path:
    """The parent of run directories: $DQN_RUNS, else runs."""
    return Path(os.environ.get("DQN_RUNS") or DEFAULT_RUNS)


def new_run_directory(name: str) -> Path:
    """Creates a directory for a run of this model, named after the model and the time."""
    runs = runs_directory()
    stamp = f"{name}-{datetime.now(UTC).astimezone():%Y%m%d-%H%M%S}"
    with wrap_os_errors(f"create a directory for the run in {runs} (set DQN_RUNS to use another place)"):
        durable.make_directory(runs)
        for number in itertools.count(1):
            path = runs / (stamp if number == 1 else f"{stamp}-{number}")
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                break
    return path
