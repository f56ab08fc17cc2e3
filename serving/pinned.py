"""Versions that are loaded because requests named them: a small cache, the least recently used goes first."""

from collections import OrderedDict
from collections.abc import Iterator

from serving.policies import LoadedPolicy

Key = tuple[str, int]


class PinnedVersions:
    """At most `capacity` loaded versions beside the champions."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._policies: OrderedDict[Key, LoadedPolicy] = OrderedDict()

    def get(self, model: str, version: int) -> LoadedPolicy | None:
        """A version, which thereby is the most recently used; None when it is not loaded."""
        loaded = self._policies.get((model, version))
        if loaded is not None:
            self._policies.move_to_end((model, version))
        return loaded

    def put(self, loaded: LoadedPolicy) -> None:
        """Keeps a version; requests that still run on what it pushes out keep that alive until they end."""
        self._policies[loaded.model, loaded.version] = loaded
        while len(self._policies) > self.capacity:
            self._policies.popitem(last=False)

    def pop(self, model: str, version: int) -> LoadedPolicy | None:
        """Takes a version out, as when it becomes champion."""
        return self._policies.pop((model, version), None)

    def __iter__(self) -> Iterator[LoadedPolicy]:
        """The versions, least recently used first."""
        return iter(list(self._policies.values()))
