"""What is kept of an answered request: a count, and a line in the log and a span if they are wanted."""

import structlog

from dqn_serving.problems import Served
from dqn_serving.telemetry.metrics import EndpointMeasures
from dqn_serving.telemetry.request_context import RequestContext
from dqn_serving.telemetry.tracing import Traces

log = structlog.get_logger()


class RequestLog:
    """Counts requests, logs them with DQN_ACCESS_LOG, and traces them with DQN_OTLP_ENDPOINT."""

    def __init__(self, *, access_log: bool, traces: Traces | None = None) -> None:
        self._traces = traces
        self.assigns_request_ids = access_log
        """Whether each request needs an id: a line in the log that nobody can point to is worth little."""

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
        """Counts a request that took these seconds and was answered with this status, by `served` if by any version."""
        measures.observe(status, seconds)
        if self._traces is not None:
            self._traces.record(method, measures.template, path, status, seconds, context, served)
        if self.assigns_request_ids:
            fields = context.fields()
            log.info("request", method=method, path=path, status=status, seconds=round(seconds, 6), **fields)
