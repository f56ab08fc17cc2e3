"""The metrics in Prometheus's text formats, summed over all workers."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from dqn_serving.telemetry.metrics import COUNTERS, GAUGES, HISTOGRAMS, Histogram
from dqn_serving.telemetry.shared_memory import Name

Totals = defaultdict[str, dict[tuple[str, ...], list[float]]]
"""Sums by metric, then by the values of its labels."""


class Exposition(Collector):
    """Exposes the sums over all workers; versions that no worker has loaded have no series."""

    def __init__(
        self,
        totals: Callable[[], Mapping[Name, list[float]]],
        note_loaded: Callable[[], None],
        published: Callable[[], Mapping[str, float]],
    ) -> None:
        """`totals` returns the sums over all workers; `note_loaded`, called first, records which versions are loaded.

        `published` returns when each model's champion was published, in Unix time.
        """
        self._totals = totals
        self._note_loaded = note_loaded
        self._published = published

    def render(self, accept: str) -> tuple[bytes, str]:
        """The metrics and their content type: OpenMetrics where the Accept header asks for it, else Prometheus text."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self), content_type

    def collect(self) -> Iterator[Metric]:
        """All metrics, with the sums over the workers."""
        self._note_loaded()
        totals: Totals = defaultdict(dict)
        for name, values in sorted(self._totals().items()):
            totals[name[0]][name[1:]] = values
        for kinds, family in ((COUNTERS, CounterMetricFamily), (GAUGES, GaugeMetricFamily)):
            for kind, metric in kinds.items():
                counts = family(f"dqn_{kind}", metric.help, labels=metric.labels)
                for labels, (count,) in totals[kind].items():
                    counts.add_metric(labels, count)
                yield counts
        for kind, metric in HISTOGRAMS.items():
            histogram = HistogramMetricFamily(f"dqn_{kind}", metric.help, labels=metric.labels)
            for labels, values in totals[kind].items():
                summed = Histogram(metric.bounds, values)
                histogram.add_metric(labels, buckets=summed.buckets(), sum_value=summed.total)
            yield histogram
        yield from _of_versions(totals)
        published = GaugeMetricFamily(
            "dqn_model_published_timestamp_seconds", "Unix time when the champion was published.", labels=["model"]
        )
        for model, at in self._published().items():
            published.add_metric([model], at)
        yield published


def _of_versions(totals: Totals) -> Iterator[Metric]:
    actions = CounterMetricFamily(
        "dqn_actions", "Actions chosen, by loaded version.", labels=["model", "version", "action"]
    )
    info = InfoMetricFamily("dqn_model", "Loaded versions.")
    loaded = [labels for labels, (workers,) in totals["loaded"].items() if workers > 0]
    for model, version, environment, sha256 in loaded:
        info.add_metric([], {"model": model, "version": version, "environment": environment, "sha256": sha256})
    versions = {(model, version) for model, version, _, _ in loaded}
    sums: defaultdict[tuple[str, str, int], float] = defaultdict(float)  # a replaced version may have had other actions
    for (model, version, start, _), counts in totals["actions"].items():
        if (model, version) in versions:
            for index, count in enumerate(counts):
                sums[model, version, index + int(start)] += count
    for (model, version, action), count in sums.items():
        actions.add_metric([model, version, str(action)], count)
    yield from (actions, info)
