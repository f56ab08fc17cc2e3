"""Records each answered request: in the metrics and, if enabled, as a log line and an OpenTelemetry span.

OpenTelemetry's packages are in the extra `otel` and start threads: they are imported only if a collector is configured.
"""

import os
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from threading import Thread
from typing import Any

import structlog
from typing_extensions import override

from dqn_serving.problems import Served
from dqn_serving.telemetry.metrics import EndpointMeasures, counter
from dqn_serving.telemetry.request_context import RequestContext
from dqn_serving.telemetry.shared_memory import WorkerSegment

_REMEDY = "pip install 'dqn-policy-server[otel]'"
_PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SCOPE = "dqn-policy-server"
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_LAST_SECONDS = 5.0

log = structlog.get_logger()


class Traces:
    """Sends spans to a collector, in batches and in a thread; OTEL_* variables choose sampling, sizes and headers."""

    def __init__(self, endpoint: str | None, scheme: str, count_lost: Callable[[int], None]) -> None:
        """`endpoint` is the collector's base URL; without one OTEL_EXPORTER_OTLP_ENDPOINT names it.

        `count_lost` counts spans that cannot be created or exported.
        """
        # these packages are an extra
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        class CountedExporter(OTLPSpanExporter):
            @override
            def export(self, spans: Sequence[Any]) -> SpanExportResult:
                result = super().export(spans)
                if result is not SpanExportResult.SUCCESS:
                    count_lost(len(spans))
                return result

        about_us = {"service.name": _SCOPE, "service.version": version(_SCOPE)}
        resource = Resource.create(about_us).merge(OTELResourceDetector().detect())
        url = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(CountedExporter(endpoint=url)))
        self._tracer = self._provider.get_tracer(_SCOPE)
        self._scheme = scheme
        self._count_lost = count_lost
        self._api = trace
        self._propagator = TraceContextTextMapPropagator()

    def record(
        self,
        method: str,
        route: str,
        path: str,
        status: int,
        seconds: float,
        context: RequestContext,
        served: Served | None,
    ) -> None:
        """Creates the span of a request answered just now, `seconds` after it arrived; `route` is its template."""
        ended = time.time_ns()
        known = method if method in _METHODS else "_OTHER"
        attributes: dict[str, str | int] = {
            "http.request.method": known,
            "http.response.status_code": status,
            "http.route": route,
            "url.path": path,
            "url.scheme": self._scheme,
        }
        if served is not None:
            attributes |= {"dqn.model": served.model, "dqn.version": served.version}
        if context.request_id is not None:
            attributes["dqn.request_id"] = context.request_id
        if status >= 500:
            attributes["error.type"] = str(status)
        caller = context.trace
        carrier = {} if caller is None else {"traceparent": f"00-{caller.trace_id}-{caller.span_id}-{caller.flags}"}
        try:
            name = f"{method if known == method else 'HTTP'} {route}"
            parent, started = self._propagator.extract(carrier), ended - round(seconds * 1e9)
            span = self._tracer.start_span(name, parent, self._api.SpanKind.SERVER, attributes, start_time=started)
            if status >= 500:
                span.set_status(self._api.StatusCode.ERROR)
            span.end(ended)
        except Exception as error:  # noqa: BLE001  (a lost span must not fail the request)
            self._count_lost(1)
            log.warning("span lost", reason=f"{type(error).__name__}: {error}")

    def close(self, seconds: float) -> None:
        """Exports the remaining spans within `seconds`, at most five: the collector may be down."""
        sending = Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(min(seconds, _LAST_SECONDS))


class RequestLog:
    """Counts requests, logs them with DQN_ACCESS_LOG, and traces them with DQN_OTLP_ENDPOINT."""

    def __init__(self, *, access_log: bool, traces: Traces | None = None) -> None:
        self._traces = traces
        self.assigns_request_ids = access_log
        """Whether each request needs an id, so that its log line can be found."""

    def observe(
        self,
        measures: EndpointMeasures,
        method: str,
        path: str,
        status: int,
        seconds: float,
        context: RequestContext,
        served: Served | None = None,
    ) -> None:
        """Records a request answered just now, `seconds` after it arrived; `served` is the version that answered."""
        measures.observe(status, seconds)
        if self._traces is not None:
            self._traces.record(method, measures.template, path, status, seconds, context, served)
        if self.assigns_request_ids:
            fields = context.fields()
            log.info("request", method=method, path=path, status=status, seconds=round(seconds, 6), **fields)


def check_endpoint(endpoint: str) -> str:
    """The endpoint of a collector. Raises ValueError with the remedy if the packages for it are missing."""
    if not _is_installed():
        raise ValueError(f"the packages for it are not installed: {_REMEDY}")
    return endpoint


def _is_installed() -> bool:
    try:
        return all(find_spec(package) is not None for package in _PACKAGES)
    except ModuleNotFoundError:  # not even a parent package
        return False


def create_traces(endpoint: str | None, scheme: str, segment: WorkerSegment) -> Traces | None:
    """The traces of a worker; None if neither `endpoint` nor an OpenTelemetry variable names a collector."""
    count_lost = counter(segment, "spans_lost")
    is_wanted = endpoint is not None or any(os.environ.get(name) for name in _ENDPOINTS)
    if not is_wanted or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if not _is_installed():
        log.warning("requests are not traced", reason="OpenTelemetry is not installed", remedy=_REMEDY)
        return None
    return Traces(endpoint, scheme, count_lost)
