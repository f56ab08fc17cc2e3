"""What the server counts: plain numbers that the event loop adds to, at a fraction of a microsecond each.

prometheus_client's own counters lock and look labels up at every step; here that happens only when they are read
(`serving.exposition`). All of it belongs to the event loop, so no lock is needed. The numbers are on a page of the
`serving.ledger`.
"""

from bisect import bisect_left
from collections.abc import Iterator, MutableMapping, Sequence
from itertools import accumulate
from typing import TypeVar

from dqn_serving.telemetry.shared_memory import Numbers, Page

Label = TypeVar("Label", int, str)

REQUEST_BOUNDS = (
    *(50e-6, 75e-6, 100e-6, 150e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25),
    *(0.5, 1.0, 2.5, 5.0, 10.0),
)
INFERENCE_BOUNDS = (5e-6, 10e-6, 25e-6, *REQUEST_BOUNDS)
BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
REFRESH_BOUNDS = (1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

BOUNDS: dict[str, Sequence[float]] = {
    "request_duration": REQUEST_BOUNDS,
    "inference": INFERENCE_BOUNDS,
    "batch_size": BATCH_BOUNDS,
    "refresh_duration": REFRESH_BOUNDS,
}

OUTCOMES = ("success", "failure")
OTHER_ENDPOINT = "other"


class Histogram:
    """Counts of values by bucket; bucket i holds what is at most bounds[i], the last one all that is above."""

    __slots__ = ("_numbers", "bounds")

    def __init__(self, bounds: Sequence[float], numbers: "Numbers | list[float] | None" = None) -> None:
        """`bounds` ascend; `numbers` are where to count: the buckets and then the total."""
        self.bounds = bounds
        self._numbers = [0.0] * (len(bounds) + 2) if numbers is None else numbers

    def observe(self, value: float) -> None:
        """Counts one value."""
        self._numbers[bisect_left(self.bounds, value)] += 1
        self._numbers[-1] += value

    @property
    def total(self) -> float:
        """The sum of the values."""
        return self._numbers[-1]

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds and cumulative counts, as Prometheus wants them."""
        bounds = [*(str(float(bound)) for bound in self.bounds), "+Inf"]
        return list(zip(bounds, accumulate(list(self._numbers)[:-1]), strict=True))


class Counts(MutableMapping[Label, float]):
    """Counts by a label; what was never counted is 0."""

    def __init__(self, page: Page, *name: str) -> None:
        """`name` is what they are called on the page."""
        self._page = page
        self._name = name
        self._numbers: dict[Label, Numbers] = {}

    def __getitem__(self, label: Label) -> float:
        """The count of a label."""
        return self._at(label)[0]

    def __setitem__(self, label: Label, count: float) -> None:
        """Replaces a count, as `+=` does."""
        self._at(label)[0] = count

    def add_one(self, label: Label) -> None:
        """Counts one more; `+=` looks the label up twice."""
        numbers = self._numbers.get(label)
        if numbers is None:
            numbers = self._at(label)
        numbers[0] += 1

    def __delitem__(self, label: Label) -> None:
        """Raises TypeError."""
        raise TypeError(f"counts are never taken back: {label!r}")

    def __iter__(self) -> Iterator[Label]:
        """The labels that this worker met."""
        return iter(self._numbers)

    def __len__(self) -> int:
        """How many labels this worker met."""
        return len(self._numbers)

    def _at(self, label: Label) -> Numbers:
        numbers = self._numbers.get(label)
        if numbers is None:
            numbers = self._numbers[label] = self._page.numbers((*self._name, str(label)), 1)
        return numbers


class EndpointMeasures:
    """Requests of one route template."""

    def __init__(self, page: Page, template: str) -> None:
        self.template = template
        self.statuses: Counts[int] = Counts(page, "requests", template)
        self.duration = _histogram(page, "request_duration", template)

    def observe(self, status: int, seconds: float) -> None:
        """Counts one answered request."""
        self.statuses.add_one(status)
        self.duration.observe(seconds)


class ModelMeasures:
    """Inference and refreshes of one model."""

    def __init__(self, page: Page, model: str) -> None:
        self.inference = _histogram(page, "inference", model)
        self.batch_size = _histogram(page, "batch_size", model)
        self.rejected: Counts[str] = Counts(page, "rejected", model)
        self.refreshes: Counts[str] = Counts(page, "refreshes", model)
        self.refreshes.update({outcome: self.refreshes[outcome] for outcome in OUTCOMES})
        self.refresh_duration = _histogram(page, "refresh_duration", model)


class RequestMeasures:
    """Requests of every endpoint; the templates are ours, so their number is bounded."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._endpoints: dict[str, EndpointMeasures] = {}

    def endpoint(self, template: str) -> EndpointMeasures:
        """The measures of one route template."""
        found = self._endpoints.get(template)
        if found is None:
            found = self._endpoints[template] = EndpointMeasures(self._page, template)
        return found


def _histogram(page: Page, kind: str, label: str) -> Histogram:
    bounds = BOUNDS[kind]
    return Histogram(bounds, page.numbers((kind, label), len(bounds) + 2))
