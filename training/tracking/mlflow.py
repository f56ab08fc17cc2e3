"""MLflow; needs the extra `mlflow`.

Everything is sent by a thread of its own, several rows at a time, and sent again until the server has it: a server that
is down or slow costs training nothing.
"""

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # the thread tries again itself
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # where our own result goes
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a run's numbers are for the user's server only

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from models.durable import commit_replace, write_temporary
from training.tracking.scalars import Row
from training.tracking.tracking import Outcome

_EVERY_SECONDS = 3.0  # between two sendings
_LAST_SECONDS = 20.0  # for what is left at the end of a run that published
_HURRY_SECONDS = 0.5  # the same when it was interrupted
_METRICS = 1_000  # the most that MLflow takes at a time
_PARAMS = 100


def check_uri(uri: str) -> None:
    """Raises ValueError for an address that MLflow's client does not take; whether somebody is there is seen later."""
    try:
        MlflowClient(uri)
    except Exception as error:
        cause = " ".join(str(error).split())[:200]
        raise ValueError(f"--mlflow (or MLFLOW_TRACKING_URI) is {uri!r}; MLflow refuses it: {cause}") from error


class MlflowTracker:
    """A run on a tracking server: its settings, every row, and the published version's files."""

    def __init__(self, uri: str, memory: Path, experiment: str, run_name: str, params: Mapping[str, Any]) -> None:
        """`memory` is where the run's id on the server is kept, so that a resumed run goes on with it."""
        self._uri = uri
        self._memory = memory
        self._experiment = experiment
        self._run_name = run_name
        self._params = params
        self._client = MlflowClient(uri)
        self._run_id: str | None = None
        self._sent_before = (-1.0, -1.0)  # the moment of the last row that an earlier process sent
        self._rows: list[tuple[int, Row]] = []  # time in ms, and the row
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._outcome: Outcome | None = None
        self._warned = self._complete = False
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def begin(self, _first_step: int) -> None:
        """Starts the thread."""
        self._thread.start()

    def log(self, row: Row) -> None:
        """Keeps the row for the next sending."""
        with self._lock:
            self._rows.append((time.time_ns() // 1_000_000, row))

    def close(self, outcome: Outcome | None) -> None:
        """Sends what is left, if the server takes it soon; says what it did not take."""
        if not self._thread.is_alive():
            return
        self._outcome = outcome
        self._ended.set()
        self._thread.join(_LAST_SECONDS if outcome else _HURRY_SECONDS)
        if not self._complete:
            rows = len(self._rows)
            missing = f"the last {rows} rows" if rows else "the end"
            print(
                f"warning: MLflow at {self._uri} did not get {missing} of this run; metrics.csv is complete.",
                file=sys.stderr,
                flush=True,
            )

    def _work(self) -> None:
        while not self._ended.wait(_EVERY_SECONDS):
            self._attempt()
        self._attempt()

    def _attempt(self) -> None:
        """Sends all rows, and at the end the outcome; what fails is kept for the next attempt."""
        try:
            run_id = self._run_id or self._open_run()
            while self._rows:
                self._send_rows(run_id)
            if self._ended.is_set():
                self._end_run(run_id)
                self._complete = True
        except Exception as error:  # noqa: BLE001  (a client of a service raises whatever its layers raise)
            self._warn(error)

    def _open_run(self) -> str:
        """The run's id on the server: the remembered one, if the server knows it, or a new one."""
        memory = remembered(self._memory)
        if memory.get("uri") == self._uri:
            run = self._client.get_run(memory["run_id"])
            self._client.update_run(run.info.run_id, status="RUNNING")
            metrics = run.data.metrics
            self._sent_before = (metrics.get("env_steps", -1.0), metrics.get("evaluations", -1.0))
            self._run_id = str(memory["run_id"])
            return self._run_id
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or self._experiment
        experiment = self._client.get_experiment_by_name(name)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(name)
        run_id: str = self._client.create_run(experiment_id, run_name=self._run_name).info.run_id
        params = [Param(key, str(value)) for key, value in self._params.items()]
        for first in range(0, len(params), _PARAMS):
            self._client.log_batch(run_id, params=params[first : first + _PARAMS])
        content = json.dumps({"uri": self._uri, "run_id": run_id}).encode()
        commit_replace(write_temporary(self._memory, content), self._memory)
        self._run_id = run_id
        return run_id

    def _send_rows(self, run_id: str) -> None:
        with self._lock:
            rows = self._rows[: _METRICS // len(self._rows[0][1])]
        metrics = [
            Metric(name, value, at, int(row["env_steps"] or 0))
            for at, row in rows
            if (row["env_steps"], row["evaluations"]) > self._sent_before
            for name, value in row.items()
            if value is not None
        ]
        self._client.log_batch(run_id, metrics=metrics)
        with self._lock:
            del self._rows[: len(rows)]

    def _end_run(self, run_id: str) -> None:
        if self._outcome is None:
            self._client.set_terminated(run_id, "KILLED")
            return
        manifest = self._outcome.manifest
        tags = {"model": manifest.model, "version": manifest.version, "promoted": self._outcome.promoted}
        report = Metric(
            "report_return", manifest.evaluation.mean, time.time_ns() // 1_000_000, manifest.training.env_steps
        )
        self._client.log_batch(run_id, [report], tags=[RunTag(name, str(value)) for name, value in tags.items()])
        with tempfile.TemporaryDirectory() as folder:
            for name, content in self._outcome.files().items():
                Path(folder, name).write_bytes(content)
            self._client.log_artifacts(run_id, folder)
        self._client.set_terminated(run_id, "FINISHED")

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            cause = " ".join(str(error).split())[:200]
            sentence = f"MLflow at {self._uri} does not take this run's numbers: {cause}. Training goes on"
            print(f"warning: {sentence}, and sending is tried again.", file=sys.stderr, flush=True)
        self._warned = True


def remembered(memory: Path) -> dict[str, Any]:
    """Address of the server and id of the run there; {} where none was begun."""
    try:
        found = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
