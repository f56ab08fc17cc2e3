"""What the statistics call tells: durations of the protocol's own requests, by version, in Triton's form."""

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from serving.policies import LoadedPolicy
from serving.registry import Registry

_MAX_BATCH_SIZES = 64  # told one by one; a client that varies them must not fill the memory


class Durations(NamedTuple):
    """Nanoseconds of one request: reading its tensors, running the policy, writing the answer."""

    compute_input: int
    compute_infer: int
    compute_output: int

    @classmethod
    def between(cls, times: Sequence[int]) -> "Durations":
        """From the four times at which these began and ended."""
        return cls(*(after - before for before, after in pairwise(times)))


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


class VersionStatistics:
    """Requests of one version."""

    def __init__(self) -> None:
        self.observations = 0
        self.last_inference = 0
        self.success, self.fail = Total(), Total()
        self.parts = {name: Total() for name in Durations._fields}
        self.batches: dict[int, dict[str, Total]] = {}

    def add(self, batch_size: int, durations: Durations) -> None:
        """Counts one request that was answered."""
        self.observations += batch_size
        self.last_inference = time.time_ns() // 1_000_000
        self.success.add(sum(durations))
        if batch_size not in self.batches and len(self.batches) < _MAX_BATCH_SIZES:
            self.batches[batch_size] = {name: Total() for name in Durations._fields}
        for parts in (self.parts, self.batches.get(batch_size, {})):
            for name, total in parts.items():
                total.add(getattr(durations, name))

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
            "inference_stats": {**inference, **_documents(self.parts), "cache_hit": none, "cache_miss": none},
            "response_stats": {},
            "batch_stats": [{"batch_size": size} | _documents(parts) for size, parts in sorted(self.batches.items())],
            "memory_usage": [],
        }


def _documents(parts: dict[str, Total]) -> dict[str, dict[str, int]]:
    return {name: total.document() for name, total in parts.items()}


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
