"""The statistics call: durations of infer requests by version, in Triton's format."""

import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.registry import Registry

_MAX_BATCH_SIZES = 64  # reported individually; a client that varies them must not fill the memory
_ABSENT = {part: {"count": 0, "ns": 0} for part in ("queue", "cache_hit", "cache_miss")}


class Durations(NamedTuple):
    """Nanoseconds that some requests took to read tensors, run the policy and write answers; and their number."""

    compute_input: int = 0
    compute_infer: int = 0
    compute_output: int = 0
    requests: int = 1

    def plus(self, other: "Durations") -> "Durations":
        """The sum of both."""
        # Written out: a loop over the four takes three times as long.
        return Durations(self[0] + other[0], self[1] + other[1], self[2] + other[2], self[3] + other[3])

    def by_part(self) -> dict[str, dict[str, int]]:
        """In Triton's format."""
        return {part: {"count": self.requests, "ns": ns} for part, ns in zip(self._fields[:3], self[:3], strict=True)}


_NONE = Durations(requests=0)


@dataclass
class _VersionStatistics:
    """Requests of one version."""

    observations: int = 0
    last_inference: int = 0  # Unix time in milliseconds
    answered: Durations = _NONE
    failures: int = 0
    failure_ns: int = 0
    batches: dict[int, Durations] = field(default_factory=dict)

    def document(self, loaded: LoadedPolicy) -> dict[str, Any]:
        """In Triton's format; what this server does not have, such as queues and caches, is 0."""
        return {
            "name": loaded.model,
            "version": str(loaded.version),
            "last_inference": self.last_inference,
            "inference_count": self.observations,
            "execution_count": self.answered.requests,
            "inference_stats": {
                "success": {"count": self.answered.requests, "ns": sum(self.answered[:3])},
                "fail": {"count": self.failures, "ns": self.failure_ns},
                **self.answered.by_part(),
                **_ABSENT,
            },
            "response_stats": {},
            "batch_stats": [{"batch_size": size} | totals.by_part() for size, totals in sorted(self.batches.items())],
            "memory_usage": [],
        }


class Statistics:
    """The statistics of every loaded version; those of a version that is no longer loaded are dropped."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._versions: dict[LoadedPolicy, _VersionStatistics] = {}

    def count_success(self, loaded: LoadedPolicy, batch_size: int, durations: Durations) -> None:
        """Counts a request that was answered."""
        found = self._of(loaded)
        found.observations += batch_size
        found.last_inference = time.time_ns() // 1_000_000
        found.answered = found.answered.plus(durations)
        if batch_size in found.batches or len(found.batches) < _MAX_BATCH_SIZES:
            found.batches[batch_size] = found.batches.get(batch_size, _NONE).plus(durations)

    def count_failure(self, loaded: LoadedPolicy, ns: int) -> None:
        """Counts a request that was refused after this many nanoseconds."""
        found = self._of(loaded)
        found.failures += 1
        found.failure_ns += ns

    def _of(self, loaded: LoadedPolicy) -> _VersionStatistics:
        if loaded not in self._versions:
            self._forget_unloaded()
            self._versions[loaded] = _VersionStatistics()
        return self._versions[loaded]

    def _forget_unloaded(self) -> None:
        loaded = self._registry.loaded()
        self._versions = {each: self._versions[each] for each in loaded if each in self._versions}

    def documents(self, model: str | None = None, version: int | None = None) -> list[dict[str, Any]]:
        """The statistics of the loaded versions, or of those with this name and number, sorted."""
        self._forget_unloaded()
        loaded = sorted(self._registry.loaded(), key=lambda each: each.served)
        named = (each for each in loaded if model in {None, each.model} and version in {None, each.version})
        return [self._versions.get(each, _VersionStatistics()).document(each) for each in named]
