"""The statistics call: durations of the protocol's own requests, by version, in Triton's form."""

import time
from typing import Any, NamedTuple

from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.registry import Registry

_MAX_BATCH_SIZES = 64  # reported one by one; a client that varies them must not fill the memory


class Durations(NamedTuple):
    """Nanoseconds of one request: reading its tensors, running the policy, writing the answer."""

    compute_input: int
    compute_infer: int
    compute_output: int


class _Totals:
    """A number of requests, and the sum of their durations."""

    __slots__ = ("count", "ns")

    def __init__(self) -> None:
        self.count = 0
        self.ns = Durations(0, 0, 0)

    def add(self, durations: Durations) -> None:
        """Counts one request."""
        self.count += 1
        self.ns = Durations(*(total + ns for total, ns in zip(self.ns, durations, strict=True)))

    def document(self) -> dict[str, dict[str, int]]:
        """As the protocol writes them, by part."""
        return {name: _total(self.count, ns) for name, ns in self.ns._asdict().items()}


def _total(count: int = 0, ns: int = 0) -> dict[str, int]:
    return {"count": count, "ns": ns}


class _VersionStatistics:
    """Requests of one version."""

    def __init__(self) -> None:
        self.observations = 0
        self.last_inference = 0  # Unix time in milliseconds
        self.totals = _Totals()
        self.failures = self.failure_ns = 0
        self.batches: dict[int, _Totals] = {}

    def add(self, batch_size: int, durations: Durations) -> None:
        """Counts one request that was answered."""
        self.observations += batch_size
        self.last_inference = time.time_ns() // 1_000_000
        self.totals.add(durations)
        batch = self.batches.get(batch_size)
        if batch is None and len(self.batches) < _MAX_BATCH_SIZES:
            batch = self.batches[batch_size] = _Totals()
        if batch is not None:
            batch.add(durations)

    def document(self, model: str, version: int) -> dict[str, Any]:
        """As Triton writes it; what this server does not have, such as queues and caches, is 0."""
        inference = {
            "success": _total(self.totals.count, sum(self.totals.ns)),
            "fail": _total(self.failures, self.failure_ns),
            **self.totals.document(),
            **{name: _total() for name in ("queue", "cache_hit", "cache_miss")},
        }
        return {
            "name": model,
            "version": str(version),
            "last_inference": self.last_inference,
            "inference_count": self.observations,
            "execution_count": self.totals.count,
            "inference_stats": inference,
            "response_stats": {},
            "batch_stats": [{"batch_size": size} | totals.document() for size, totals in sorted(self.batches.items())],
            "memory_usage": [],
        }


class Statistics:
    """The statistics of every loaded version; those of a version that is no longer loaded are dropped."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._versions: dict[LoadedPolicy, _VersionStatistics] = {}

    def count_success(self, loaded: LoadedPolicy, batch_size: int, durations: Durations) -> None:
        """Counts a request that was answered."""
        self._of(loaded).add(batch_size, durations)

    def count_failure(self, loaded: LoadedPolicy, ns: int) -> None:
        """Counts a request that was refused after this many nanoseconds."""
        found = self._of(loaded)
        found.failures += 1
        found.failure_ns += ns

    def _of(self, loaded: LoadedPolicy) -> _VersionStatistics:
        found = self._versions.get(loaded)
        if found is None:
            self._forget_unloaded()
            found = self._versions[loaded] = _VersionStatistics()
        return found

    def _forget_unloaded(self) -> None:
        kept = set(self._registry.loaded())
        self._versions = {loaded: found for loaded, found in self._versions.items() if loaded in kept}

    def documents(self, model: str | None = None, version: int | None = None) -> list[dict[str, Any]]:
        """The statistics of the loaded versions, or of those with this name and number, sorted."""
        self._forget_unloaded()
        found = [
            (loaded.model, loaded.version, self._versions.get(loaded) or _VersionStatistics())
            for loaded in self._registry.loaded()
            if model in {None, loaded.model} and version in {None, loaded.version}
        ]
        found.sort(key=lambda entry: entry[:2])
        return [statistics.document(name, number) for name, number, statistics in found]
