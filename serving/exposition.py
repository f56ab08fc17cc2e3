"""The metrics as Prometheus reads them, made from what the server counted; every metric is defined here."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from serving.metrics import Histogram, RequestMeasures
from serving.registry import Registry


class Exposition(Collector):
    """Reads the measures of requests and models; a version that is no longer loaded has no series."""

    def __init__(self, requests: RequestMeasures, registry: Registry) -> None:
        self._requests = requests
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
        yield from self._of_requests()
        yield from self._of_models()
        yield from self._of_refreshes()
        yield from self._of_versions()

    def _of_requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "dqn_requests", "Requests answered, by route and HTTP status.", labels=["endpoint", "status"]
        )
        duration = HistogramMetricFamily(
            "dqn_request_duration_seconds", "Time from a request's headers to its answer.", labels=["endpoint"]
        )
        for template, endpoint in self._requests.endpoints.items():
            for status, count in endpoint.statuses.items():
                requests.add_metric([template, str(status)], count)
            _add(duration, template, endpoint.duration)
        yield from (requests, duration)

    def _of_models(self) -> Iterator[Metric]:
        inference = HistogramMetricFamily(
            "dqn_inference_duration_seconds", "Time of one run of the policy, for its whole batch.", labels=["model"]
        )
        batch_size = HistogramMetricFamily(
            "dqn_inference_batch_size", "Observations in one run of the policy.", labels=["model"]
        )
        rejected = CounterMetricFamily(
            "dqn_observations_rejected", "Requests to act that were refused, by reason.", labels=["model", "reason"]
        )
        for name, served in self._registry.models.items():
            _add(inference, name, served.measures.inference)
            _add(batch_size, name, served.measures.batch_size)
            for reason, count in served.measures.rejected.items():
                rejected.add_metric([name, reason], count)
        yield from (inference, batch_size, rejected)

    def _of_refreshes(self) -> Iterator[Metric]:
        published = GaugeMetricFamily(
            "dqn_model_published_timestamp_seconds", "When the champion was published, Unix time.", labels=["model"]
        )
        refreshes = CounterMetricFamily(
            "dqn_model_refreshes", "Attempts to replace the champion, by outcome.", labels=["model", "outcome"]
        )
        duration = HistogramMetricFamily(
            "dqn_model_refresh_duration_seconds", "Time to verify, load and warm up a champion.", labels=["model"]
        )
        for name, served in self._registry.models.items():
            if served.champion is not None:
                published.add_metric([name], served.champion.manifest.created_at.timestamp())
            for outcome, count in served.measures.refreshes.items():
                refreshes.add_metric([name, outcome], count)
            _add(duration, name, served.measures.refresh_duration)
        yield from (published, refreshes, duration)

    def _of_versions(self) -> Iterator[Metric]:
        actions = CounterMetricFamily(
            "dqn_actions", "Actions answered, by loaded version.", labels=["model", "version", "action"]
        )
        info = InfoMetricFamily("dqn_model", "The versions that are loaded.")
        for loaded in self._registry.loaded():
            version = str(loaded.version)
            for index, count in enumerate(loaded.action_counts):
                actions.add_metric([loaded.model, version, str(index + loaded.start)], count)
            facts = {"model": loaded.model, "version": version, "sha256": loaded.sha256}
            info.add_metric([], facts | {"environment": loaded.manifest.environment.id})
        yield from (actions, info)


def _add(family: HistogramMetricFamily, label: str, histogram: Histogram) -> None:
    family.add_metric([label], buckets=histogram.buckets(), sum_value=histogram.total)
