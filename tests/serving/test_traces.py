"""OpenTelemetry: spans as a collector receives them over HTTP."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from dqn_models.repository import ModelRepository
from dqn_testing.server import running_server, wait_until

ACT = {"observation": [0.1, 0.2, 0.3, 0.4]}
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """What a collector has received."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resource: dict[str, str] = {}
        self.paths: set[str] = set()
        self.url = ""

    def take(self, path: str, body: bytes) -> None:
        """Decodes one export."""
        self.paths.add(path)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resource = {field.key: field.value.string_value for field in group.resource.attributes}
            self.spans += [span for scope in group.scope_spans for span in scope.spans]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector of OTLP over HTTP on a free port."""
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(self.path, self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


def attributes(span: Span) -> dict[str, Any]:
    """A span's attributes."""
    return {field.key: field.value.string_value or field.value.int_value for field in span.attributes}


@pytest.mark.slow
def test_every_request_is_a_span(repository: ModelRepository, collector: Collector) -> None:
    """Every request, even a refused one, is a span named after its route, with the caller's span as its parent."""
    with running_server(repository, otlp_endpoint=collector.url) as server:
        server.wait_ready()
        began = time.time_ns()
        server.post("/act", ACT, headers={"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-ID": "r1"})
        server.post("/models/lake/act", {"observation": 99})
        inputs = [{"name": "observation", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 1]}]
        server.post("/v2/models/cartpole/versions/2/infer", {"inputs": inputs})
        server.request("BREW", "/coffee")
        assert server.stop() == 0
    ended = time.time_ns()
    spans = {span.name: span for span in collector.spans}
    assert collector.paths == {"/v1/traces"}
    assert collector.resource["service.name"] == "dqn-policy-server"
    act = spans["POST /act"]
    assert (act.trace_id.hex(), act.parent_span_id.hex(), act.kind) == (TRACE, CALLER, Span.SPAN_KIND_SERVER)
    assert began < act.start_time_unix_nano < act.end_time_unix_nano < ended
    assert attributes(act) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/act",
        "url.path": "/act",
        "url.scheme": "http",
        "dqn.model": "cartpole",
        "dqn.version": 1,
        "dqn.request_id": "r1",
    }
    refused = spans["POST /models/{model}/act"]
    assert (attributes(refused)["http.response.status_code"], refused.parent_span_id) == (422, b"")
    assert attributes(spans["POST /v2/models/{model}/versions/{version}/infer"])["dqn.version"] == 2
    assert attributes(spans["HTTP other"])["http.request.method"] == "_OTHER"


@pytest.mark.slow
def test_missing_collector_delays_nothing(repository: ModelRepository) -> None:
    """Without a collector requests are answered, lost spans are counted, and the server stops in time."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with running_server(repository, env=env | {"OTEL_EXPORTER_OTLP_TIMEOUT": "1"}, shutdown_seconds=1) as server:
        server.wait_ready()
        assert server.post("/act", ACT).status_code == 200
        wait_until(lambda: server.metric("dqn_spans_lost_total") >= 1, 30, "counted")
        assert server.stop(timeout=15) == 0


def test_nothing_is_imported_if_nothing_is_traced(tmp_path: Path) -> None:
    """A server without a collector does not even load the packages."""
    code = (
        "import sys; from dqn_serving.services import Services; from dqn_serving.settings import read_settings; "
        f"Services(read_settings(['--repository', {str(tmp_path)!r}])); "
        "sys.exit('opentelemetry.sdk' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
