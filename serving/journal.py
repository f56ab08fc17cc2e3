"""What is kept of an answered request: a count, and a line in the log if that is wanted."""

from time import perf_counter

import structlog

from serving.correlation import Correlation
from serving.metrics import EndpointMeasures

log = structlog.get_logger()


class Journal:
    """Counts requests, and logs them with DQN_ACCESS_LOG."""

    def __init__(self, *, access_log: bool) -> None:
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
    ) -> None:
        """Counts a request that was answered now and had `started` at that `perf_counter`."""
        seconds = perf_counter() - started
        measures.observe(status, seconds)
        if self.names_every_request:
            fields = correlation.fields()
            log.info("request", method=method, path=path, status=status, seconds=round(seconds, 6), **fields)
