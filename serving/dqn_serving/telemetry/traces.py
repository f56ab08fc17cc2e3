"""OpenTelemetry spans of requests, made when a request was answered; imported only where they are wanted."""

import time
from importlib.metadata import version
from threading import Thread

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from dqn_serving.problems import Served
from dqn_serving.telemetry.request_context import Correlation, Trace

_SCOPE = "dqn-policy-server"
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_LAST_SECONDS = 5.0
_NO_PARENT = Context()


class Traces:
    """Sends spans to a collector, in batches and in a thread; OTEL_* variables choose sampling, sizes and headers."""

    def __init__(self, endpoint: str | None, scheme: str) -> None:
        """`endpoint` is the collector's base URL; without one OTEL_EXPORTER_OTLP_ENDPOINT names it."""
        about_us = {"service.name": _SCOPE, "service.version": version(_SCOPE)}
        resource = Resource.create(about_us).merge(OTELResourceDetector().detect())
        url = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
        self._tracer = self._provider.get_tracer(_SCOPE)
        self._scheme = scheme

    def record(
        self,
        method: str,
        route: str,
        path: str,
        status: int,
        seconds: float,
        correlation: Correlation,
        served: Served | None,
    ) -> None:
        """Makes the span of a request that was answered now, `seconds` after it came."""
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
        if correlation.request_id is not None:
            attributes["dqn.request_id"] = correlation.request_id
        span = self._tracer.start_span(
            f"{method if known == method else 'HTTP'} {route}",
            context=_parent(correlation.trace),
            kind=trace.SpanKind.SERVER,
            attributes=attributes,
            start_time=ended - round(seconds * 1e9),
        )
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(trace.StatusCode.ERROR)
        span.end(ended)

    def close(self, seconds: float) -> None:
        """Sends what is left, for at most `seconds` and never longer than five: a collector may be away."""
        sending = Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(min(seconds, _LAST_SECONDS))


def _parent(caller: Trace | None) -> Context:
    if caller is None:
        return _NO_PARENT
    span = trace.SpanContext(
        int(caller.trace_id, 16), int(caller.span_id, 16), is_remote=True, trace_flags=trace.TraceFlags(caller.flags)
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(span), _NO_PARENT)
