"""The retraining job's own Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from dqn_models.errors import RepositoryError

OUTCOMES = ("promoted", "kept", "failed")
_DURATION_BUCKETS = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200)


class RetrainMetrics:
    """Counts the rounds of one model's job, in a registry of its own."""

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()
        runs = Counter(
            "dqn_retrain_runs_total",
            "Retraining rounds, by the outcome for the challenger.",
            ["model", "outcome"],
            registry=self.registry,
        )
        self._runs = {outcome: runs.labels(model, outcome) for outcome in OUTCOMES}
        self._duration = Histogram(
            "dqn_retrain_duration_seconds",
            "Duration of a retraining round.",
            ["model"],
            buckets=_DURATION_BUCKETS,
            registry=self.registry,
        ).labels(model)
        self._last_success = Gauge(
            "dqn_retrain_last_success_timestamp_seconds",
            "When the last round that did not fail ended, as a Unix time.",
            ["model"],
            registry=self.registry,
        ).labels(model)

        self._lost_writes = Counter(
            "dqn_retrain_lost_log_writes_total",
            "Writes to the log that were lost because it could not be written.",
            ["model"],
            registry=self.registry,
        ).labels(model)
        self._counted = 0

    def serve(self, host: str, port: int) -> None:
        """Serves the metrics from now on; port 0 means nowhere. Raises RepositoryError when the port cannot be had."""
        if port == 0:
            return
        try:
            start_http_server(port, host, self.registry)
        except OSError as error:
            raise RepositoryError(
                f"Cannot serve metrics on {host}:{port}: {error.strerror}. Use --metrics-port."
            ) from error

    def lost_writes(self, total: int) -> None:
        """Takes over how many writes this process has lost so far."""
        self._lost_writes.inc(total - self._counted)
        self._counted = total

    def count(self, outcome: str, duration: float) -> None:
        """Counts a round that took `duration` seconds."""
        self._runs[outcome].inc()
        self._duration.observe(duration)
        if outcome != "failed":
            self._last_success.set_to_current_time()
