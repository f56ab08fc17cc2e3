"""MLflow: sends a run's settings, metrics and files to a tracking server; needs the extra `mlflow`.

A thread sends everything, several rows at a time, and retries until the server has it: a server that is slow or down
does not affect training.
"""

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # we retry ourselves
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # standard output is for our result
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a run's data is for the user's server only

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from dqn_models.durable import commit_replace, write_temporary
from dqn_training.tracking.metrics_csv import SCALARS, Row
from dqn_training.tracking.recorder import Outcome

_ROWS_AT_ONCE = 1_000 // len(SCALARS)  # MLflow accepts 1,000 metrics per call
_EVERY_SECONDS = 3.0  # between attempts to send
_LAST_SECONDS = 20.0  # for the remaining rows of a run that has published
_HURRY_SECONDS = 0.5  # for those of an interrupted run


def check_uri(uri: str) -> None:
    """Raises ValueError for a URI that MLflow's client rejects; it does not contact the server."""
    try:
        MlflowClient(uri)
    except Exception as error:
        sentence = f"--mlflow (or MLFLOW_TRACKING_URI) is {uri!r}; MLflow rejects it: {_cause(error)}"
        raise ValueError(sentence) from error


def saved_run(memory: Path) -> dict[str, Any]:
    """The server's URI and the id of the run there; {} if there is none yet."""
    try:
        found = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


class MlflowTracker:
    """A run on a tracking server, created or resumed at the first attempt; keeps rows until the server has them."""

    def __init__(self, uri: str, memory: Path, experiment: str, run_name: str, params: Mapping[str, Any]) -> None:
        """`memory` is the file that stores the run's id on the server, so that it can be resumed."""
        self._uri, self._memory = uri, memory
        self._experiment, self._run_name, self._params = experiment, run_name, params
        self._client = MlflowClient(uri)
        self._run_id: str | None = None
        self._sent_before = (-1.0, -1.0)  # (env_steps, evaluations) of the last row sent by an earlier process
        self._rows: list[tuple[int, Row]] = []  # time in ms and row; both threads change it by atomic operations
        self._ended = threading.Event()
        self._outcome: Outcome | None = None
        self._warned = self._complete = False
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def begin(self, _first_step: int) -> None:
        """Starts the thread."""
        self._thread.start()

    def log(self, row: Row) -> None:
        """Queues the row for sending."""
        self._rows.append((time.time_ns() // 1_000_000, row))

    def close(self, outcome: Outcome | None) -> None:
        """Sends the remaining rows if the server accepts them in time; otherwise prints a warning."""
        if not self._thread.is_alive():
            return
        self._outcome = outcome
        self._ended.set()
        self._thread.join(_LAST_SECONDS if outcome else _HURRY_SECONDS)
        if not self._complete:
            missing = f"the last {len(self._rows)} rows" if self._rows else "the end"
            self._say(f"did not receive {missing} of this run; metrics.csv is complete.")

    def _work(self) -> None:
        while not self._ended.wait(_EVERY_SECONDS):
            self._attempt()
        self._attempt()

    def _attempt(self) -> None:
        """Sends all rows and, at the end, the outcome; whatever fails is kept for the next attempt."""
        try:
            while self._rows:
                rows = self._rows[:_ROWS_AT_ONCE]
                self._send(self._run_id or self._open(), rows)
                del self._rows[: len(rows)]
            if self._ended.is_set():
                self._end(self._run_id or self._open(), self._outcome)
                self._complete = True
        except Exception as error:  # noqa: BLE001  (a client of a service may raise anything)
            if not self._warned:
                self._say(
                    f"does not accept this run's data: {_cause(error)}. Training continues, and sending is retried."
                )
            self._warned = True

    def _send(self, run_id: str, rows: Sequence[tuple[int, Row]]) -> None:
        metrics = [
            Metric(name, value, at, int(row["env_steps"] or 0))
            for at, row in rows
            if (row["env_steps"], row["evaluations"]) > self._sent_before
            for name, value in row.items()
            if value is not None
        ]
        self._client.log_batch(run_id, metrics=metrics)

    def _end(self, run_id: str, outcome: Outcome | None) -> None:
        """Adds the published version and ends the run; without one the run is marked as killed."""
        if outcome is None:
            self._client.set_terminated(run_id, "KILLED")
            return
        manifest = outcome.manifest
        tags = {"model": manifest.model, "version": manifest.version, "promoted": outcome.promoted}
        now, steps = time.time_ns() // 1_000_000, manifest.training.env_steps
        report = Metric("report_return", manifest.evaluation.mean, now, steps)
        self._client.log_batch(run_id, [report], tags=[RunTag(name, str(value)) for name, value in tags.items()])
        with tempfile.TemporaryDirectory() as folder:
            for name, content in outcome.files().items():
                Path(folder, name).write_bytes(content)
            self._client.log_artifacts(run_id, folder)
        self._client.set_terminated(run_id, "FINISHED")

    def _open(self) -> str:
        """Resumes the run of an earlier process, or creates one."""
        memory = saved_run(self._memory)
        if memory.get("uri") == self._uri:
            run_id = str(memory["run_id"])
            metrics = self._client.get_run(run_id).data.metrics
            self._client.update_run(run_id, status="RUNNING")
            self._sent_before = (metrics.get("env_steps", -1.0), metrics.get("evaluations", -1.0))
        else:
            run_id = self._create()
        self._run_id = run_id
        return run_id

    def _create(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or self._experiment
        experiment = self._client.get_experiment_by_name(name)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(name)
        run_id: str = self._client.create_run(experiment_id, run_name=self._run_name).info.run_id
        params = [
            Param(key, str(value)) for key, value in self._params.items()
        ]  # fewer than 100, MLflow's limit per call
        self._client.log_batch(run_id, params=params)
        content = json.dumps({"uri": self._uri, "run_id": run_id}).encode()
        commit_replace(write_temporary(self._memory, content), self._memory)
        return run_id

    def _say(self, sentence: str) -> None:
        print(f"warning: MLflow at {self._uri} {sentence}", file=sys.stderr, flush=True)


def _cause(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
