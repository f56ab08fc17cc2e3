"""What the server counts: plain numbers that the event loop adds to, at a fraction of a microsecond each.

prometheus_client's own counters lock and look labels up at every step; here that happens only when they are read
(`serving.exposition`). All of it belongs to the event loop, so no lock is needed.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

REQUEST_BOUNDS = (
    *(50e-6, 75e-6, 100e-6, 150e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25),
    *(0.5, 1.0, 2.5, 5.0, 10.0),
)
INFERENCE_BOUNDS = (5e-6, 10e-6, 25e-6, *REQUEST_BOUNDS)
BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
REFRESH_BOUNDS = (1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

OUTCOMES = ("success", "failure")
OTHER_ENDPOINT = "other"


class Histogram:
    """Counts of values by bucket; bucket i holds what is at most bounds[i], the last one all that is above."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` ascend."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds and cumulative counts, as Prometheus wants them."""
        bounds = [*(str(float(bound)) for bound in self.bounds), "+Inf"]
        return list(zip(bounds, accumulate(self.counts), strict=True))


class EndpointMeasures:
    """Requests of one route template."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.duration = Histogram(REQUEST_BOUNDS)

    def observe(self, status: int, seconds: float) -> None:
        """Counts one answered request."""
        self.statuses[status] += 1
        self.duration.observe(seconds)


class ModelMeasures:
    """Inference and refreshes of one model."""

    def __init__(self) -> None:
        self.inference = Histogram(INFERENCE_BOUNDS)
        self.batch_size = Histogram(BATCH_BOUNDS)
        self.rejected: Counter[str] = Counter()
        self.refreshes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.refresh_duration = Histogram(REFRESH_BOUNDS)


class RequestMeasures:
    """Requests of every endpoint; the templates are ours, so their number is bounded."""

    def __init__(self) -> None:
        self.endpoints: dict[str, EndpointMeasures] = {}

    def endpoint(self, template: str) -> EndpointMeasures:
        """The measures of one route template."""
        return self.endpoints.setdefault(template, EndpointMeasures())
