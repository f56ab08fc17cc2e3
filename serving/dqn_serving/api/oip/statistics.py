"""What the statistics call tells: durations of the protocol's own requests, by version, in Triton's form."""

import time
from typing import Any, NamedTuple

from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.registry import Registry

_MAX_BATCH_SIZES = 64  # told one by one; a client that varies them must not fill the memory


class Durations(NamedTuple):
    """Nanoseconds of one request: reading its tensors, running the policy, writing the answer."""

    compute_input: int
    compute_infer: int
    compute_output: int


class Total:
    """How often something took place and how long it took in all, nanoseconds."""

    __slots__ = ("count", "ns")

    def __init__(self) -> None:
        self.count = self.ns = 0

    def add(self, ns: int) -> None:
        """Counts one."""
        self.count += 1
        self.ns += ns

    def document(self) -> dict[str, int]:
        """As the protocol writes it."""
        return {"count": self.count, "ns": self.ns}


class Parts:
    """The parts of requests."""

    __slots__ = ("totals",)

    def __init__(self) -> None:
        self.totals = tuple(Total() for _ in Durations._fields)

    def add(self, durations: Durations) -> None:
        """Counts one request."""
        for total, ns in zip(self.totals, durations, strict=True):
            total.add(ns)

    def document(self) -> dict[str, dict[str, int]]:
        """As the protocol writes them."""
        return {name: total.document() for name, total in zip(Durations._fields, self.totals, strict=True)}


class VersionStatistics:
    """Requests of one version."""

    def __init__(self) -> None:
        self.observations = 0
        self.last_inference = 0
        self.success, self.fail = Total(), Total()
        self.parts = Parts()
        self.batches: dict[int, Parts] = {}

    def add(self, batch_size: int, durations: Durations) -> None:
        """Counts one request that was answered."""
        self.observations += batch_size
        self.last_inference = time.time_ns() // 1_000_000
        self.success.add(sum(durations))
        self.parts.add(durations)
        batch = self.batches.get(batch_size)
        if batch is None and len(self.batches) < _MAX_BATCH_SIZES:
            batch = self.batches[batch_size] = Parts()
        if batch is not None:
            batch.add(durations)

    def document(self, model: str, version: int) -> dict[str, Any]:
        """As Triton writes it; what this server does not have, such as queues and caches, is 0."""
        none = Total().document()
        inference = {"success": self.success.document(), "fail": self.fail.document(), "queue": none}
        return {
            "name": model,
            "version": str(version),
            "last_inference": self.last_inference,
            "inference_count": self.observations,
            "execution_count": self.success.count,
            "inference_stats": {**inference, **self.parts.document(), "cache_hit": none, "cache_miss": none},
            "response_stats": {},
            "batch_stats": [{"batch_size": size} | parts.document() for size, parts in sorted(self.batches.items())],
            "memory_usage": [],
        }


class Statistics:
    """The statistics of every loaded version; those of a version that is no longer loaded go."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._versions: dict[LoadedPolicy, VersionStatistics] = {}

    def count_success(self, loaded: LoadedPolicy, batch_size: int, durations: Durations) -> None:
        """Counts a request that was answered."""
        self._of(loaded).add(batch_size, durations)

    def count_failure(self, loaded: LoadedPolicy, ns: int) -> None:
        """Counts a request that was refused."""
        self._of(loaded).fail.add(ns)

    def _of(self, loaded: LoadedPolicy) -> VersionStatistics:
        found = self._versions.get(loaded)
        if found is None:
            self._forget()
            found = self._versions[loaded] = VersionStatistics()
        return found

    def _forget(self) -> None:
        kept = set(self._registry.loaded())
        self._versions = {loaded: found for loaded, found in self._versions.items() if loaded in kept}

    def documents(self, model: str | None = None, version: int | None = None) -> list[dict[str, Any]]:
        """The statistics of the loaded versions, of all or of those that are meant, sorted by name and number."""
        self._forget()
        meant = [
            loaded
            for loaded in self._registry.loaded()
            if model in {None, loaded.model} and version in {None, loaded.version}
        ]
        meant.sort(key=lambda loaded: (loaded.model, loaded.version))
        return [
            self._versions.get(loaded, VersionStatistics()).document(loaded.model, loaded.version) for loaded in meant
        ]
