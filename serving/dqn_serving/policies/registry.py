"""The models in memory; those on disk are in `dqn_models.repository`, and the refresher keeps the two in step."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator

from dqn_models.errors import ModelError, NotFoundError
from dqn_serving.policies.loaded import Key, LoadedPolicy
from dqn_serving.telemetry.metrics import ModelMeasures
from dqn_serving.telemetry.shared_memory import Name, WorkerSegment

FALLBACK_MODEL = "cartpole"
_LOADED = "loaded"


class UnavailableError(ModelError):
    """The request is valid but cannot be answered yet."""


class ServedModel:
    """One model: the champion that answers, the aliases as last read, and why there is no champion, if so."""

    def __init__(self, name: str, where: str, segment: WorkerSegment) -> None:
        """`where` is the repository, for messages; `segment` holds the counters."""
        self.name = name
        self._where = where
        self.measures = ModelMeasures(segment, name)
        self.champion: LoadedPolicy | None = None
        self.aliases: dict[str, int] = {}
        self.unavailable_reason = "has no champion yet"

    def require_champion(self) -> LoadedPolicy:
        """The champion. Raises UnavailableError if there is none."""
        if self.champion is None:
            raise UnavailableError(self.describe_unavailability())
        return self.champion

    def describe_unavailability(self) -> str:
        """Why there is no champion, and the command that remedies it."""
        promote = f"dqn-models promote {self.name}@VERSION --repository {self._where}"
        return f"{self.name} {self.unavailable_reason}. Promote a version: {promote}"


class PinnedVersions:
    """At most `capacity` loaded versions besides the champions; those that streams hold are never evicted."""

    def __init__(self, capacity: int, is_champion: Callable[[LoadedPolicy], bool]) -> None:
        self.capacity = capacity
        self._is_champion = is_champion
        self._policies: OrderedDict[Key, LoadedPolicy] = OrderedDict()
        self._held: dict[Key, LoadedPolicy] = {}
        self._holders: Counter[Key] = Counter()

    def get(self, model: str, version: int) -> LoadedPolicy | None:
        """A version, which becomes the most recently used; None if it is not loaded."""
        key = (model, version)
        if key in self._policies:
            self._policies.move_to_end(key)
        return self._policies.get(key) or self._held.get(key)

    def put(self, loaded: LoadedPolicy) -> None:
        """Keeps a version; requests that still use an evicted one keep it alive until they end."""
        self._policies[loaded.served] = loaded
        self._shrink()

    def pop(self, model: str, version: int) -> LoadedPolicy | None:
        """Removes a version, such as one that becomes champion; its holders keep it."""
        taken = self._policies.pop((model, version), None) or self._held.get((model, version))
        self._shrink()
        return taken

    def hold(self, loaded: LoadedPolicy) -> None:
        """Keeps a version, the champion or another, until it is released as often as it was held."""
        self._held[loaded.served] = loaded
        self._holders[loaded.served] += 1
        self._shrink()

    def release(self, loaded: LoadedPolicy) -> None:
        """Ends one hold."""
        self._holders[loaded.served] -= 1
        if not self._holders[loaded.served]:
            del self._holders[loaded.served]
            self._held.pop(loaded.served, None)

    def forget(self, loaded: LoadedPolicy) -> None:
        """Drops a version that was replaced on disk; its holders keep it, and the next request gets the new one."""
        self._policies.pop(loaded.served, None)
        self._held.pop(loaded.served, None)

    def can_hold(self, loaded: LoadedPolicy) -> bool:
        """Whether the capacity allows holding a version; champions do not count."""
        if self._is_champion(loaded) or loaded.served in self._held:
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


class Registry:
    """All models that this process serves."""

    def __init__(self, default: str | None, where: str, max_loaded_versions: int, segment: WorkerSegment) -> None:
        """`default` is the model for calls that name none; None chooses it as soon as there is one to choose."""
        self.segment = segment
        # by this worker's predecessor
        self._noted: set[Name] = {name for name, _ in segment.entries() if name[0] == _LOADED}
        self.models: dict[str, ServedModel] = {}
        self.pinned = PinnedVersions(max_loaded_versions, self._is_champion)
        self.default = default
        self.read_error: str | None = None
        """Why the last attempt to read the repository failed; None if it succeeded."""
        self._where = where

    def add(self, name: str) -> ServedModel:
        """The model of this name, which is served from now on."""
        if name not in self.models:
            self.models[name] = ServedModel(name, self._where, self.segment)
        return self.models[name]

    def choose_default(self) -> None:
        """Fixes the model of calls that name none, once and for all: a model published later must not change it."""
        if self.default is None and FALLBACK_MODEL in self.models:
            self.default = FALLBACK_MODEL
        elif self.default is None and len(self.models) == 1:
            self.default = next(iter(self.models))

    def get(self, name: str | None) -> ServedModel:
        """The named model, or the default one. Raises NotFoundError; UnavailableError if there is no default yet."""
        served = self.models.get((self.default or "") if name is None else name)
        if served is not None:
            return served
        if name is None:
            raise UnavailableError(self._missing_default())
        raise NotFoundError(f"There is no model {name[:128]!r} here; models are: {self._known() or 'none'}.")

    def _known(self) -> str:
        return ", ".join(sorted(self.models)[:10])

    def _missing_default(self) -> str:
        """Why there is no default model, and the remedy."""
        if self.read_error is not None:
            return self.read_error
        train = f"dqn-train --repository {self._where}"
        if self.default is not None:
            return f"There is no model {self.default!r} in {self._where} yet. Train one: {train} --name {self.default}"
        if self.models:
            return f"There are several models ({self._known()}) and none is the default. Name one, or set DQN_MODEL."
        return f"There is no model in {self._where} yet. Train one: {train}"

    def unavailable_reason(self) -> str | None:
        """Why requests that name no model cannot be answered; None if they can."""
        try:
            self.get(None).require_champion()
        except UnavailableError as error:
            return str(error)
        return None

    def loaded(self) -> Iterator[LoadedPolicy]:
        """Every version in memory."""
        for served in self.models.values():
            if served.champion is not None:
                yield served.champion
        yield from (loaded for loaded in self.pinned if not self._is_champion(loaded))

    def _is_champion(self, loaded: LoadedPolicy) -> bool:
        served = self.models.get(loaded.model)
        return served is not None and served.champion is loaded

    def note_loaded(self) -> None:
        """Records on the segment which versions are in memory now, for whichever worker serves the metrics."""
        now: set[Name] = {
            (_LOADED, loaded.model, str(loaded.version), loaded.manifest.environment.id, loaded.sha256)
            for loaded in self.loaded()
        }
        for name in now ^ self._noted:
            self.segment.values(name, 1)[0] = float(name in now)
        self._noted = now

    def loaded_versions(self, model: str) -> list[int]:
        """The numbers of a model's versions in memory."""
        return sorted(loaded.version for loaded in self.loaded() if loaded.model == model)

    def published(self) -> dict[str, float]:
        """When each model's champion was published, Unix time."""
        champions = {name: served.champion for name, served in self.models.items() if served.champion is not None}
        return {name: champion.manifest.created_at.timestamp() for name, champion in champions.items()}
