"""The retraining job's own Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

OUTCOMES = ("promoted", "kept", "failed")
_DURATION_BUCKETS = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200)


class RetrainMetrics:
    """Counts the rounds of one model's job, in a registry of its own."""

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()
        runs = Counter(
            "dqn_retrain_runs_total",
            "Retraining rounds, by what became of the challenger.",
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

    def count(self, outcome: str, duration: float) -> None:
        """Counts a round that took `duration` seconds."""
        self._runs[outcome].inc()
        self._duration.observe(duration)
        if outcome != "failed":
            self._last_success.set_to_current_time()
