"""What is kept of an answered request: a count, and a line in the log and a span if they are wanted."""

from time import perf_counter
from typing import TYPE_CHECKING

import structlog

from dqn_serving.problems import Served
from dqn_serving.telemetry.metrics import EndpointMeasures
from dqn_serving.telemetry.request_context import Correlation

if TYPE_CHECKING:  # its packages are an extra
    from dqn_serving.telemetry.traces import Traces

log = structlog.get_logger()


class Journal:
    """Counts requests, logs them with DQN_ACCESS_LOG, and traces them with DQN_OTLP_ENDPOINT."""

    def __init__(self, *, access_log: bool, traces: "Traces | None" = None) -> None:
        self.traces = traces
        self.names_every_request = access_log
        """Whether each request needs an id: a line in the log that nobody can point to is worth little."""

    def record(
        self,
        measures: EndpointMeasures,
        method: str,
        path: str,
        status: int,
        started: float,
        correlation: Correlation,
        served: Served | None = None,
    ) -> None:
        """Counts a request that was answered now and had `started` at that `perf_counter`."""
        self.keep(measures, method, path, status, perf_counter() - started, correlation, served)

    def keep(
        self,
        measures: EndpointMeasures,
        method: str,
        path: str,
        status: int,
        seconds: float,
        correlation: Correlation,
        served: Served | None = None,
    ) -> None:
        """Counts a request that took these seconds."""
        measures.observe(status, seconds)
        if self.traces is not None:
            self.traces.record(method, measures.template, path, status, seconds, correlation, served)
        if self.names_every_request:
            fields = correlation.fields()
            log.info("request", method=method, path=path, status=status, seconds=round(seconds, 6), **fields)
