"""What is kept of an answered request: its place in the metrics, and a line in the log if that is wanted."""

from time import perf_counter

import structlog

from serving.metrics import EndpointMeasures

log = structlog.get_logger()


class Journal:
    """Counts requests, and logs them with DQN_ACCESS_LOG."""

    def __init__(self, *, access_log: bool) -> None:
        self._access_log = access_log

    def record(self, measures: EndpointMeasures, method: str, path: str, status: int, started: float) -> None:
        """Counts a request that was answered now and had `started` at that `perf_counter`."""
        seconds = perf_counter() - started
        measures.observe(status, seconds)
        if self._access_log:
            log.info("request", method=method, path=path, status=status, seconds=round(seconds, 6))
