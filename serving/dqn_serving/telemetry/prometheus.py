"""The metrics as Prometheus reads them, made from what the server counted; every metric is defined here."""

from collections import defaultdict
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from dqn_serving.policies.registry import Registry
from dqn_serving.telemetry.metrics import BOUNDS, Histogram
from dqn_serving.telemetry.shared_memory import Ledger

Totals = defaultdict[str, dict[tuple[str, ...], list[float]]]
"""What was counted: by kind, then by the values of its labels."""


class Exposition(Collector):
    """Reads what all workers counted; a version that none of them has loaded any more has no series."""

    def __init__(self, ledger: Ledger, registry: Registry) -> None:
        self._ledger = ledger
        self._registry = registry
        self._collectors = CollectorRegistry(auto_describe=False)
        self._collectors.register(self)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The metrics and their content type: OpenMetrics where the Accept header asks for it, else Prometheus text."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._collectors), content_type

    def describe(self) -> Iterator[Metric]:
        """The names, without reading anything."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        self._registry.note_loaded()
        totals: Totals = defaultdict(dict)
        for name, numbers in sorted(self._ledger.totals().items()):
            totals[name[0]][name[1:]] = numbers
        for kind, counter in _counters().items():
            for labels, (count,) in totals[kind].items():
                counter.add_metric(labels, count)
            yield counter
        for kind, histogram in _histograms().items():
            for labels, numbers in totals[kind].items():
                summed = Histogram(BOUNDS[kind], numbers)
                histogram.add_metric(labels, buckets=summed.buckets(), sum_value=summed.total)
            yield histogram
        yield _streams(totals)
        yield from _of_versions(totals)
        yield self._published()

    def _published(self) -> Metric:
        published = GaugeMetricFamily(
            "dqn_model_published_timestamp_seconds", "When the champion was published, Unix time.", labels=["model"]
        )
        for name, served in self._registry.models.items():
            if served.champion is not None:
                published.add_metric([name], served.champion.manifest.created_at.timestamp())
        return published


def _counters() -> dict[str, CounterMetricFamily]:
    family = CounterMetricFamily
    return {
        "requests": family(
            "dqn_requests", "Requests answered, by route and HTTP status.", labels=["endpoint", "status"]
        ),
        "rejected": family(
            "dqn_observations_rejected", "Requests to act that were refused, by reason.", labels=["model", "reason"]
        ),
        "refreshes": family(
            "dqn_model_refreshes", "Attempts to replace the champion, by outcome.", labels=["model", "outcome"]
        ),
        "file_reloads": family(
            "dqn_file_reloads",
            "Changes of the files of tokens and certificates, by outcome.",
            labels=["file", "outcome"],
        ),
    }


def _histograms() -> dict[str, HistogramMetricFamily]:
    family = HistogramMetricFamily
    return {
        "request_duration": family(
            "dqn_request_duration_seconds", "Time from a request's headers to its answer.", labels=["endpoint"]
        ),
        "inference": family(
            "dqn_inference_duration_seconds", "Time of one run of the policy, for its whole batch.", labels=["model"]
        ),
        "batch_size": family("dqn_inference_batch_size", "Observations in one run of the policy.", labels=["model"]),
        "refresh_duration": family(
            "dqn_model_refresh_duration_seconds", "Time to verify, load and warm up a champion.", labels=["model"]
        ),
    }


def _streams(totals: Totals) -> Metric:
    streams = GaugeMetricFamily("dqn_streams", "Streams that are open.", labels=["model"])
    for labels, (count,) in totals["streams"].items():
        streams.add_metric(labels, count)
    return streams


def _of_versions(totals: Totals) -> Iterator[Metric]:
    actions = CounterMetricFamily(
        "dqn_actions", "Actions answered, by loaded version.", labels=["model", "version", "action"]
    )
    info = InfoMetricFamily("dqn_model", "The versions that are loaded.")
    loaded = [labels for labels, (workers,) in totals["loaded"].items() if workers > 0]
    for model, version, environment, sha256 in loaded:
        info.add_metric([], {"model": model, "version": version, "environment": environment, "sha256": sha256})
    versions = {(model, version) for model, version, _, _ in loaded}
    for (model, version, start), counts in totals["actions"].items():
        if (model, version) in versions:
            for index, count in enumerate(counts):
                actions.add_metric([model, version, str(index + int(start))], count)
    yield from (actions, info)
