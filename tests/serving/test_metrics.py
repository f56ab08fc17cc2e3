"""The contents and formats of /metrics, and that the numbers are right."""

import os
import shutil
import subprocess
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from dqn_models.repository import ModelRepository
from dqn_serving.telemetry.metrics import Histogram
from dqn_testing.repositories import publish_linear
from dqn_testing.server import Server, running_server
from tests.serving.stream.client import stream

CONTRACT: dict[str, set[str]] = {
    "dqn_requests": {"endpoint", "status"},
    "dqn_request_duration_seconds": {"endpoint"},
    "dqn_inference_duration_seconds": {"model"},
    "dqn_inference_batch_size": {"model"},
    "dqn_actions": {"model", "version", "action"},
    "dqn_observations_rejected": {"model", "reason"},
    "dqn_model_info": {"model", "version", "environment", "sha256"},
    "dqn_model_published_timestamp_seconds": {"model"},
    "dqn_model_refreshes": {"model", "outcome"},
    "dqn_model_refresh_duration_seconds": {"model"},
    "dqn_streams": {"model"},
    "dqn_file_reloads": {"file", "outcome"},
    "dqn_task_restarts": {"task"},
    "dqn_log_lines_lost": set(),
    "dqn_spans_lost": set(),
}


def use_everything(server: Server) -> None:
    """Gives every metric a sample."""
    server.post("/act", {"observation": [0, 0, 0, 0]})
    server.post("/q-values", {"observations": [[0, 0, 0, 0], [1, 1, 1, 1]]})
    server.post("/models/lake/act", {"observation": 99})
    server.get("/nothing")
    with stream(server):
        pass


def test_names_and_labels_are_the_contract(server: Server) -> None:
    """/metrics has exactly the documented metrics with the documented labels."""
    use_everything(server)
    parsed: Any = text_string_to_metric_families(server.get("/metrics").text)
    families = {family.name: family for family in parsed}
    assert set(families) == set(CONTRACT)
    for name, labels in CONTRACT.items():
        found = {frozenset(sample.labels) - {"le"} for sample in families[name].samples}
        assert found == {frozenset(labels)}
        assert families[name].documentation


def test_promtool_finds_nothing(server: Server) -> None:
    """`promtool check metrics` reports nothing about the output."""
    if shutil.which("promtool") is None and not os.environ.get("CI"):
        pytest.skip("promtool is not installed")
    use_everything(server)
    text = server.get("/metrics").content
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)  # noqa: S607
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_openmetrics_on_accept(server: Server) -> None:
    """A scraper that asks for OpenMetrics gets it; others get Prometheus text."""
    use_everything(server)
    response = server.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    parsed: Any = parse_openmetrics(response.text)  # type: ignore[no-untyped-call]
    assert "dqn_model" in {family.name for family in parsed}
    assert server.get("/metrics").headers["content-type"].startswith("text/plain")


def test_counts_are_right(empty: ModelRepository) -> None:
    """Requests, statuses, durations, batch sizes and actions are counted exactly."""
    publish_linear(empty, promote=True)
    with running_server(empty) as server:
        server.wait_ready()
        right, left = [0, 0, 1, 1], [0, 0, -1, -1]
        for _ in range(3):
            server.post("/act", {"observation": right})
        server.post("/act", {"observations": [right, left, left]})
        server.post("/models/cartpole/q-values", {"observation": left})
        server.post("/act", b"{")
        assert server.metric("dqn_requests_total", endpoint="/act", status="200") == 4
        assert server.metric("dqn_requests_total", endpoint="/act", status="400") == 1
        assert server.metric("dqn_requests_total", endpoint="/models/{model}/q-values") == 1
        assert server.metric("dqn_request_duration_seconds_count", endpoint="/act") == 5
        assert server.metric("dqn_inference_duration_seconds_count", model="cartpole") == 5
        assert server.metric("dqn_inference_batch_size_sum", model="cartpole") == 7
        assert server.metric("dqn_inference_batch_size_bucket", model="cartpole", le="1.0") == 4
        assert server.metric("dqn_actions_total", action="1") == 4
        assert server.metric("dqn_actions_total", action="0") == 3
        assert server.metric("dqn_model_refreshes_total", model="cartpole", outcome="success") == 1
        published = empty.manifest("cartpole", 1).created_at.timestamp()
        assert server.metric("dqn_model_published_timestamp_seconds", model="cartpole") == published


def test_labels_are_bounded(server: Server) -> None:
    """Invented paths, models, methods and versions do not create series."""
    server.get("/made/up/0")
    before = len(server.get("/metrics").text.splitlines())
    for number in range(1, 20):
        server.get(f"/made/up/{number}")
        server.post(f"/models/made-up-{number}/act", {"observation": [number]})
        server.get(f"/models/cartpole/versions/{number + 100}")
    text = server.get("/metrics").text
    assert "made" not in text
    assert len(text.splitlines()) <= before + 60  # at most the first 404 of each of three routes


def test_series_of_an_unloaded_version_disappear(empty: ModelRepository) -> None:
    """When a champion is replaced, its series disappear and the new one's appear."""
    publish_linear(empty, promote=True)
    publish_linear(empty, bias=1.0)
    with running_server(empty) as server:
        server.wait_ready()
        server.post("/act", {"observation": [0, 0, 1, 0]})
        assert server.metric("dqn_actions_total", version="1") == 1
        empty.promote("cartpole", 2)
        server.wait_log("refreshed", model="cartpole", version=2)
        text = server.get("/metrics").text
        assert 'version="1"' not in text
        assert server.metric("dqn_model_info", model="cartpole", version="2") == 1


def test_histogram_buckets_are_those_of_prometheus() -> None:
    """A bucket counts values up to its bound; the last one counts everything."""
    histogram = Histogram((1, 2, 4), [0.0] * 5)
    for value in (0.5, 1, 1.5, 4, 100):
        histogram.observe(value)
    assert histogram.buckets() == [("1.0", 2), ("2.0", 3), ("4.0", 4), ("+Inf", 5)]
    assert histogram.total == 107
