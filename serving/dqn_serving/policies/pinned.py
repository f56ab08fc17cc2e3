"""Versions that are loaded because requests named them: a small cache, the least recently used goes first."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator

from dqn_serving.policies.loaded import LoadedPolicy

Key = tuple[str, int]


class PinnedVersions:
    """At most `capacity` loaded versions beside the champions; what streams hold is never pushed out."""

    def __init__(self, capacity: int, is_champion: Callable[[LoadedPolicy], bool]) -> None:
        self.capacity = capacity
        self._is_champion = is_champion
        self._policies: OrderedDict[Key, LoadedPolicy] = OrderedDict()
        self._held: dict[Key, LoadedPolicy] = {}
        self._holders: Counter[Key] = Counter()

    def get(self, model: str, version: int) -> LoadedPolicy | None:
        """A version, which thereby is the most recently used; None when it is not loaded."""
        key = (model, version)
        loaded = self._policies.get(key)
        if loaded is None:
            return self._held.get(key)
        self._policies.move_to_end(key)
        return loaded

    def put(self, loaded: LoadedPolicy) -> None:
        """Keeps a version; requests that still run on what it pushes out keep that alive until they end."""
        self._policies[loaded.model, loaded.version] = loaded
        self._shrink()

    def pop(self, model: str, version: int) -> LoadedPolicy | None:
        """Takes a version out, as when it becomes champion; its holders keep theirs."""
        taken = self._policies.pop((model, version), None) or self._held.get((model, version))
        self._shrink()
        return taken

    def hold(self, loaded: LoadedPolicy) -> None:
        """Keeps a version, the champion or another, until it is released as often as it was held."""
        key = (loaded.model, loaded.version)
        self._held[key] = loaded
        self._holders[key] += 1
        self._shrink()

    def release(self, loaded: LoadedPolicy) -> None:
        """Ends one hold."""
        key = (loaded.model, loaded.version)
        self._holders[key] -= 1
        if not self._holders[key]:
            del self._holders[key], self._held[key]

    def can_hold(self, loaded: LoadedPolicy) -> bool:
        """Whether holding a version leaves those that are held beside the champions within the capacity."""
        if self._is_champion(loaded) or (loaded.model, loaded.version) in self._held:
            return True
        return sum(not self._is_champion(held) for held in self._held.values()) < self.capacity

    def _shrink(self) -> None:
        surplus = sum(not self._is_champion(loaded) for loaded in self) - self.capacity
        free = [key for key in self._policies if key not in self._held]
        for key in free[: max(surplus, 0)]:
            del self._policies[key]

    def __iter__(self) -> Iterator[LoadedPolicy]:
        """The versions, least recently used first."""
        return iter(list({**self._held, **self._policies}.values()))
