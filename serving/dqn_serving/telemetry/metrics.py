"""The server's metrics: one table that defines them, and plain float64 values that the event loop adds to.

prometheus_client's own counters take a lock and look up labels at every increment; here labels are looked up only when
metrics are read (`telemetry.prometheus`), and no lock is needed, since everything runs on the event loop. The values
are on a worker's segment of shared memory.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import accumulate
from typing import NamedTuple

from dqn_serving.telemetry.shared_memory import Values, WorkerSegment


class Metric(NamedTuple):
    """How a metric is exposed."""

    help: str
    labels: tuple[str, ...] = ()
    bounds: Sequence[float] = ()
    """The buckets of a histogram, in the unit that its name ends with."""


_BOUNDS = (
    *(50e-6, 75e-6, 100e-6, 150e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25),
    *(0.5, 1.0, 2.5, 5.0, 10.0),
)
COUNTERS = {
    "requests": Metric("Requests answered, by route and HTTP status.", ("endpoint", "status")),
    "observations_rejected": Metric("Requests for actions that were rejected, by reason.", ("model", "reason")),
    "model_refreshes": Metric("Attempts to replace the champion, by outcome.", ("model", "outcome")),
    "file_reloads": Metric("Reloads of changed token and certificate files, by outcome.", ("file", "outcome")),
    "task_restarts": Metric("Restarts of background tasks that failed.", ("task",)),
    "log_lines_lost": Metric("Log lines that could not be written."),
    "spans_lost": Metric("Spans that could not be created or exported."),
}
GAUGES = {"streams": Metric("Open streams.", ("model",))}
HISTOGRAMS = {
    "request_duration_seconds": Metric("Time from a request's head to its response.", ("endpoint",), _BOUNDS),
    "inference_duration_seconds": Metric(
        "Time of one run of the policy, for its whole batch.", ("model",), (5e-6, 10e-6, 25e-6, *_BOUNDS)
    ),
    "inference_batch_size": Metric(
        "Observations in one run of the policy.", ("model",), [2**power for power in range(13)]
    ),
    "model_refresh_duration_seconds": Metric(
        "Time to verify, load and warm up a champion.", ("model",), (*_BOUNDS[6:], 30.0)
    ),
}
"""By name without `dqn_`; in the segments each name is followed by the values of its labels."""

OUTCOMES = ("success", "failure")
OTHER_ENDPOINT = "other"


class Histogram:
    """Counts of values by bucket; bucket i counts those up to bounds[i], the last one all others."""

    __slots__ = ("_values", "bounds")

    def __init__(self, bounds: Sequence[float], values: "Values | list[float]") -> None:
        """`bounds` ascend; `values` holds the counts of the buckets and then the total."""
        self.bounds = bounds
        self._values = values

    def observe(self, value: float) -> None:
        """Counts one value."""
        self._values[bisect_left(self.bounds, value)] += 1
        self._values[-1] += value

    @property
    def total(self) -> float:
        """The sum of the values."""
        return self._values[-1]

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds and cumulative counts, as Prometheus expects them."""
        bounds = [*(str(float(bound)) for bound in self.bounds), "+Inf"]
        return list(zip(bounds, accumulate(list(self._values)[:-1]), strict=True))


class Counts:
    """Counts by a label, 0 at first."""

    def __init__(self, segment: WorkerSegment, *name: str, labels: Sequence[int | str] = ()) -> None:
        """`name` is their name on the segment; `labels` are exposed from the start, at 0."""
        self._segment = segment
        self._name = name
        self._values: dict[int | str, Values] = {}
        for label in labels:
            self.add(label, 0)

    def add(self, label: int | str, count: int = 1) -> None:
        """Adds to the count of a label."""
        values = self._values.get(label)
        if values is None:
            values = self._values[label] = self._segment.values((*self._name, str(label)), 1)
        values[0] += count


def counter(segment: WorkerSegment, name: str) -> Callable[[int], None]:
    """A function that adds to a count without labels."""
    return partial(Counts(segment, labels=[name]).add, name)


class EndpointMeasures:
    """Requests of one route template."""

    def __init__(self, segment: WorkerSegment, template: str) -> None:
        self.template = template
        self._statuses = Counts(segment, "requests", template)
        self._duration = _histogram(segment, "request_duration_seconds", template)

    def observe(self, status: int, seconds: float) -> None:
        """Counts one answered request."""
        self._statuses.add(status)
        self._duration.observe(seconds)


class ModelMeasures:
    """Inference and refreshes of one model."""

    def __init__(self, segment: WorkerSegment, model: str) -> None:
        self.inference = _histogram(segment, "inference_duration_seconds", model)
        self.batch_size = _histogram(segment, "inference_batch_size", model)
        self.rejected = Counts(segment, "observations_rejected", model)
        self.refreshes = Counts(segment, "model_refreshes", model, labels=OUTCOMES)
        self.refresh_duration = _histogram(segment, "model_refresh_duration_seconds", model)


class RequestMeasures:
    """Requests of every endpoint, by its route template; these are ours, so their number is bounded."""

    def __init__(self, segment: WorkerSegment) -> None:
        self.endpoint = cache(partial(EndpointMeasures, segment))


def _histogram(segment: WorkerSegment, kind: str, label: str) -> Histogram:
    bounds = HISTOGRAMS[kind].bounds
    return Histogram(bounds, segment.values((kind, label), len(bounds) + 2))
