"""What the server counts: one table of metrics, and plain float64 that the event loop adds to.

prometheus_client's own counters lock and look labels up at every step; here that happens only when they are read
(`telemetry.prometheus`). All of it belongs to the event loop, so no lock is needed. The values are on a worker's
segment of shared memory.
"""

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache, partial
from itertools import accumulate
from typing import Generic, NamedTuple, TypeVar

from dqn_serving.telemetry.shared_memory import Values, WorkerSegment

Label = TypeVar("Label", int, str)

_REQUEST_BOUNDS = (
    *(50e-6, 75e-6, 100e-6, 150e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25),
    *(0.5, 1.0, 2.5, 5.0, 10.0),
)
BOUNDS: dict[str, Sequence[float]] = {
    "request_duration": _REQUEST_BOUNDS,
    "inference": (5e-6, 10e-6, 25e-6, *_REQUEST_BOUNDS),
    "batch_size": [2**power for power in range(13)],
    "refresh_duration": (1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
}
"""The buckets of each histogram, in the unit that its name ends with."""


class Metric(NamedTuple):
    """How a metric is exposed."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


COUNTERS = {
    "requests": Metric("dqn_requests", "Requests answered, by route and HTTP status.", ("endpoint", "status")),
    "rejected": Metric(
        "dqn_observations_rejected", "Requests to act that were refused, by reason.", ("model", "reason")
    ),
    "refreshes": Metric("dqn_model_refreshes", "Attempts to replace the champion, by outcome.", ("model", "outcome")),
    "file_reloads": Metric(
        "dqn_file_reloads", "Changes of the files of tokens and certificates, by outcome.", ("file", "outcome")
    ),
    "task_restarts": Metric("dqn_task_restarts", "Background tasks that ended and were started again.", ("task",)),
    "log_lines_lost": Metric("dqn_log_lines_lost", "Log lines that could not be written."),
    "spans_lost": Metric("dqn_spans_lost", "Spans that could not be created or exported."),
}
GAUGES = {"streams": Metric("dqn_streams", "Streams that are open.", ("model",))}
HISTOGRAMS = {
    "request_duration": Metric(
        "dqn_request_duration_seconds", "Time from a request's headers to its answer.", ("endpoint",)
    ),
    "inference": Metric(
        "dqn_inference_duration_seconds", "Time of one run of the policy, for its whole batch.", ("model",)
    ),
    "batch_size": Metric("dqn_inference_batch_size", "Observations in one run of the policy.", ("model",)),
    "refresh_duration": Metric(
        "dqn_model_refresh_duration_seconds", "Time to verify, load and warm up a champion.", ("model",)
    ),
}
"""By the name on the segments; an entry there has the values of the labels after it."""

OUTCOMES = ("success", "failure")
OTHER_ENDPOINT = "other"


class Histogram:
    """Counts of values by bucket; bucket i holds what is at most bounds[i], the last one all that is above."""

    __slots__ = ("_values", "bounds")

    def __init__(self, bounds: Sequence[float], values: "Values | list[float]") -> None:
        """`bounds` ascend; `values` are where to count: the buckets and then the total."""
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
        """Upper bounds and cumulative counts, as Prometheus wants them."""
        bounds = [*(str(float(bound)) for bound in self.bounds), "+Inf"]
        return list(zip(bounds, accumulate(list(self._values)[:-1]), strict=True))


class Counts(Generic[Label]):
    """Counts by a label; what was never counted is 0."""

    def __init__(self, segment: WorkerSegment, *name: str, labels: Sequence[Label] = ()) -> None:
        """`name` is what they are called on the segment; `labels` are shown before anything is counted."""
        self._segment = segment
        self._name = name
        self._values: dict[Label, Values] = {}
        for label in labels:
            self.add(label, 0)

    def add(self, label: Label, count: int = 1) -> None:
        """Adds to the count of a label."""
        values = self._values.get(label)
        if values is None:
            values = self._values[label] = self._segment.values((*self._name, str(label)), 1)
        values[0] += count


class EndpointMeasures:
    """Requests of one route template."""

    def __init__(self, segment: WorkerSegment, template: str) -> None:
        self.template = template
        self._statuses: Counts[int] = Counts(segment, "requests", template)
        self._duration = _histogram(segment, "request_duration", template)

    def observe(self, status: int, seconds: float) -> None:
        """Counts one answered request."""
        self._statuses.add(status)
        self._duration.observe(seconds)


class ModelMeasures:
    """Inference and refreshes of one model."""

    def __init__(self, segment: WorkerSegment, model: str) -> None:
        self.inference = _histogram(segment, "inference", model)
        self.batch_size = _histogram(segment, "batch_size", model)
        self.rejected: Counts[str] = Counts(segment, "rejected", model)
        self.refreshes: Counts[str] = Counts(segment, "refreshes", model, labels=OUTCOMES)
        self.refresh_duration = _histogram(segment, "refresh_duration", model)


class RequestMeasures:
    """Requests of every endpoint, by its route template; these are ours, so their number is bounded."""

    def __init__(self, segment: WorkerSegment) -> None:
        self.endpoint = cache(partial(EndpointMeasures, segment))


def _histogram(segment: WorkerSegment, kind: str, label: str) -> Histogram:
    bounds = BOUNDS[kind]
    return Histogram(bounds, segment.values((kind, label), len(bounds) + 2))
