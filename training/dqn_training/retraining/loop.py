"""The retraining loop: it survives failed rounds, and has its own Prometheus metrics and log."""

import sys
import time
from collections.abc import Callable
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from dqn_models import cli_support, streams
from dqn_models.errors import RepositoryError
from dqn_training.retraining.round import RoundResult

_OUTCOMES = ("promoted", "kept", "failed")
_DURATION_BUCKETS = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200)


class RetrainMetrics:
    """Prometheus metrics of one model's retraining job, in their own registry."""

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()
        one: dict[str, Any] = {"labelnames": ["model"], "registry": self.registry}
        by_outcome = one | {"labelnames": ["model", "outcome"]}
        runs = Counter("dqn_retrain_runs_total", "Retraining rounds by outcome for the challenger.", **by_outcome)
        what = "Duration of a retraining round."
        duration = Histogram("dqn_retrain_duration_seconds", what, buckets=_DURATION_BUCKETS, **one)
        what = "Unix time at which the last successful round ended."
        last_success = Gauge("dqn_retrain_last_success_timestamp_seconds", what, **one)
        lost_writes = Counter("dqn_retrain_lost_log_writes_total", "Writes to the log that failed.", **one)
        self._runs = {outcome: runs.labels(model, outcome) for outcome in _OUTCOMES}
        self._duration, self._last_success = duration.labels(model), last_success.labels(model)
        self._lost_writes, self._counted = lost_writes.labels(model), 0

    def serve(self, host: str, port: int) -> None:
        """Starts serving the metrics; port 0: not at all. Raises RepositoryError if the port is unavailable."""
        if port == 0:
            return
        try:
            start_http_server(port, host, self.registry)
        except OSError as error:
            sentence = f"Cannot serve metrics on {host}:{port}: {error.strerror}. Choose another --metrics-port."
            raise RepositoryError(sentence) from error

    def lost_writes(self, total: int) -> None:
        """Sets the total number of writes that this process has lost."""
        self._lost_writes.inc(total - self._counted)
        self._counted = total

    def count(self, outcome: str, duration: float) -> None:
        """Counts a round that took `duration` seconds."""
        self._runs[outcome].inc()
        self._duration.observe(duration)
        if outcome != "failed":
            self._last_success.set_to_current_time()


def run_loop(
    model: str, interval: float, next_round: Callable[[], RoundResult], metrics: RetrainMetrics, *, json: bool
) -> None:
    """Starts a round every `interval` seconds until SIGTERM or Ctrl-C; `json` prints each result.

    Failed rounds are counted and logged; log lines that cannot be written are counted.
    """
    _configure_logs()
    log = structlog.get_logger()
    log.info("retraining", model=model, every_seconds=interval)
    while True:
        started = time.monotonic()
        try:
            result = next_round()
        except Exception as error:  # noqa: BLE001  (the loop must survive any failure of a round)
            metrics.count("failed", time.monotonic() - started)
            log.error("round failed", model=model, error=str(error), kind=type(error).__name__)  # noqa: TRY400
        else:
            metrics.count(result.decision, time.monotonic() - started)
            log.info("round done", **result._asdict(), seconds=round(time.monotonic() - started, 1))
            if json:
                with streams.tolerant_output():
                    cli_support.print_json(result._asdict())
        metrics.lost_writes(streams.lost_writes())
        time.sleep(max(0.0, started + interval - time.monotonic()))


def _configure_logs() -> None:
    """Configures logs as JSON lines on standard error, or coloured text on a terminal."""
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    structlog.configure(
        processors=[structlog.processors.add_log_level, stamp, renderer],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
