"""The records of a run: metrics.csv always, TensorBoard and MLflow on request."""

import contextlib
import json
import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dqn_testing.commands import free_port, result, run, start
from dqn_testing.peers import peer_python
from dqn_training.tracking.metrics_csv import SCALARS, read_metrics

MLFLOW = ["mlflow-skinny==3.17.2", "aiohttp", "alembic", "flask", "flask-cors", "numpy", "pandas", "sqlalchemy"]
TIMES = {"wall_seconds", "steps_per_second"}
SHORT = ["--total-env-steps=6000", "--eval-every=1500", "--eval-episodes=5", "--report-episodes=5", "--log-every=500"]
SHORT += ["--stop-return=1e9"]

pytestmark = pytest.mark.slow


def rows(path: Path) -> list[dict[str, float | None]]:
    """The rows of a metrics file, without columns that depend on the machine's speed."""
    columns = {name: column.tolist() for name, column in read_metrics(path).items() if name not in TIMES}
    assert columns.keys() == SCALARS.keys() - TIMES
    count = len(columns["env_steps"])
    return [
        {name: None if math.isnan(column[index]) else column[index] for name, column in columns.items()}
        for index in range(count)
    ]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The metrics of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    result("dqn-train", "--repository", folder / "store", "--run-dir", folder / "run", *SHORT)
    return folder / "run" / "metrics.csv"


def test_metrics_have_a_row_for_each_interval_and_evaluation(uninterrupted: Path) -> None:
    """Rows are in order of environment steps, and only those of an evaluation have its return."""
    written = rows(uninterrupted)
    steps = [int(row["env_steps"] or 0) for row in written]
    assert steps == sorted(steps)
    assert {count // 500 for count in steps} >= set(range(2, 12))
    assert sum(row["evaluation_return"] is not None for row in written) == written[-1]["evaluations"]
    assert None not in written[-1].values()


def test_a_killed_and_resumed_run_leaves_the_same_metrics(tmp_path: Path, uninterrupted: Path) -> None:
    """A killed and resumed run leaves the same metrics.csv and TensorBoard scalars, with MLflow down throughout."""
    directory = tmp_path / "run"
    flags = ["--repository", tmp_path / "store", "--run-dir", directory, "--checkpoint-seconds", 0.001]
    trackers = ["--tensorboard", "--mlflow", f"http://127.0.0.1:{free_port()}"]
    process = start("dqn-train", *flags, *trackers, *SHORT)
    assert process.stderr is not None
    evaluations = (line for line in process.stderr if "evaluation return" in line)
    next(evaluations), next(evaluations)
    process.kill()
    process.communicate()
    assert (directory / "checkpoint").exists()
    resumed = run("dqn-train", "--resume", directory, *trackers)
    assert resumed.returncode == 0, resumed.stderr
    assert rows(directory / "metrics.csv") == rows(uninterrupted)
    assert "does not accept this run's data" in resumed.stderr
    assert "did not receive the last" in resumed.stderr
    events = EventAccumulator(str(directory / "tensorboard"), {"scalars": 0}).Reload()
    for name in SCALARS.keys() - TIMES:
        kept = [(row["env_steps"], row[name]) for row in rows(uninterrupted) if row[name] is not None]
        assert [(event.step, event.value) for event in events.Scalars(name)] == [
            (steps, pytest.approx(value, rel=1e-6)) for steps, value in kept
        ]


@contextlib.contextmanager
def mlflow_server(tmp_path: Path) -> Iterator[str]:
    """The address of a real tracking server, installed for the test."""
    mlflow = peer_python("mlflow", MLFLOW).with_name("mlflow")
    port = free_port()
    words: list[str | Path] = [mlflow, "server", "--port", str(port), "--workers", "1"]
    words += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/mlflow.db",
        "--artifacts-destination",
        tmp_path / "artifacts",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log, env=environment)
    transport = httpx.HTTPTransport(retries=10)  # waits between attempts, twice as long each time
    with httpx.Client(transport=transport, timeout=60) as client:
        client.get(f"http://127.0.0.1:{port}/health").raise_for_status()
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(30)


@pytest.fixture(params=["files", pytest.param("server", marks=pytest.mark.long)])
def tracking_uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where MLflow keeps runs: a folder, or a real server."""
    if request.param == "files":
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        yield (tmp_path / "mlruns").as_uri()
    else:
        with mlflow_server(tmp_path) as uri:
            yield uri


def test_mlflow_gets_settings_numbers_and_files(tmp_path: Path, tracking_uri: str) -> None:
    """Afterwards MLflow has every setting, every row of metrics.csv and the files of the published version."""
    flags = ["--repository", tmp_path / "store", "--run-dir", tmp_path / "run", "--mlflow", tracking_uri]
    manifest = result("dqn-train", *flags, *SHORT)
    run_id = json.loads((tmp_path / "run" / "mlflow.json").read_text())["run_id"]
    client = MlflowClient(tracking_uri)
    logged = client.get_run(run_id)
    assert logged.info.status == "FINISHED"
    assert logged.data.params["total_env_steps"] == "6000"
    assert logged.data.params.keys() >= manifest["training"]["config"].keys()
    assert {"model": "cartpole", "version": "1", "promoted": "True"}.items() <= logged.data.tags.items()
    expected = [(row["env_steps"], row["loss"]) for row in rows(tmp_path / "run" / "metrics.csv") if row["loss"]]
    assert [(metric.step, metric.value) for metric in client.get_metric_history(run_id, "loss")] == expected
    sizes = {file.path: file.file_size for file in client.list_artifacts(run_id)}
    assert sizes.keys() == {*manifest["files"], "manifest.json"}
    assert sizes["model.onnx"] == manifest["files"]["model.onnx"]["size"]
