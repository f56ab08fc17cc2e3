"""Which version answers: the champion, or the one that a request names, loaded when it is first asked for."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from dqn_models.errors import NotFoundError
from dqn_models.layout import CHAMPION
from dqn_models.reader import RepositoryReader
from dqn_serving.policies.loaded import LoadedPolicy, load
from dqn_serving.policies.registry import Key, Registry, ServedModel, UnavailableError

_MAX_SHOWN = 40  # characters of what a client sent


class Loader:
    """Finds or loads versions, each once however many ask for it; loads run in threads and hold up nobody else."""

    def __init__(self, repository: RepositoryReader, registry: Registry, max_batch_size: int) -> None:
        self._repository = repository
        self._pinned = registry.pinned
        self._segment = registry.segment
        self._max_batch_size = max_batch_size
        self._loading: dict[Key, asyncio.Task[LoadedPolicy]] = {}
        self._queued: set[Key] = set()  # of those, which requests named
        self._one_at_a_time = asyncio.Lock()  # for these, so that they leave the cores to the others

    def get_loaded(self, served: ServedModel, version: int | str) -> LoadedPolicy | None:
        """The version with this number or alias if it is in memory, and so needs no waiting. Raises NotFoundError."""
        number = self._number(served, version)
        return served.champion if number is None else self._in_memory(served, number)

    async def select(self, served: ServedModel, version: int | str) -> LoadedPolicy:
        """The version of a model with this number or alias, loaded where it is not.

        Raises NotFoundError, UnavailableError, and what `dqn_serving.policies.loaded.load` raises.
        """
        number = self._number(served, version)
        if number is None:
            return served.require_champion()
        loaded = self._in_memory(served, number)
        if loaded is None:
            loaded = await self._load_queued(served.name, number)
            current = self._in_memory(served, number)  # a refresh, or who asked as well, may have come first
            if current is not None:
                return current
            self._pinned.put(loaded)
        return loaded

    async def load(self, model: str, version: int) -> LoadedPolicy:
        """Loads a version, or waits where it is being loaded; raises what `dqn_serving.policies.loaded.load` raises."""
        key = (model, version)
        task = self._loading.get(key) or self._begin(key, self._load(key))
        return await asyncio.shield(task)  # who waits may be cancelled, the others still want it

    async def _load_queued(self, model: str, version: int) -> LoadedPolicy:
        key = (model, version)
        if key not in self._loading:
            if len(self._queued) >= self._pinned.capacity:
                raise UnavailableError(f"{len(self._queued)} other versions are to be loaded first; try again later.")
            self._queued.add(key)
            self._begin(key, self._load_in_turn(key))
        return await self.load(model, version)

    async def _load_in_turn(self, key: Key) -> LoadedPolicy:
        async with self._one_at_a_time:
            return await self._load(key)

    async def _load(self, key: Key) -> LoadedPolicy:
        return await asyncio.to_thread(load, self._repository, *key, self._max_batch_size, self._segment)

    def _begin(self, key: Key, loading: Coroutine[Any, Any, LoadedPolicy]) -> asyncio.Task[LoadedPolicy]:
        def end(task: asyncio.Task[LoadedPolicy]) -> None:
            del self._loading[key]
            self._queued.discard(key)
            if not task.cancelled():
                task.exception()  # nobody may be waiting for it any more

        task = self._loading[key] = asyncio.get_running_loop().create_task(loading)
        task.add_done_callback(end)
        return task

    def _number(self, served: ServedModel, version: int | str) -> int | None:
        if version == CHAMPION:
            return None
        if isinstance(version, int):
            return version
        if version not in served.aliases:
            known = ", ".join(sorted(served.aliases)) or "none"
            shown = repr(version[:_MAX_SHOWN]) + ("..." if len(version) > _MAX_SHOWN else "")
            raise NotFoundError(f"{served.name} has no alias {shown}; aliases are: {known}.")
        return served.aliases[version]

    def _in_memory(self, served: ServedModel, number: int) -> LoadedPolicy | None:
        if served.champion is not None and served.champion.version == number:
            return served.champion
        return self._pinned.get(served.name, number)
