"""Which version answers: the champion, or the one that a request names, loaded when it is first requested."""

import asyncio
import contextlib
from functools import partial

from dqn_models.errors import NotFoundError
from dqn_models.layout import CHAMPION
from dqn_models.reader import RepositoryReader
from dqn_serving.policies.loaded import Key, LoadedPolicy, load
from dqn_serving.policies.registry import Registry, ServedModel, UnavailableError

_MAX_SHOWN = 40  # characters of what a client sent


class Loader:
    """Finds or loads versions, each once however many requests want it; loading runs in threads and blocks no one."""

    def __init__(
        self, repository: RepositoryReader, registry: Registry, max_batch_size: int, *, lenient_masks: bool = False
    ) -> None:
        self._repository = repository
        self._pinned = registry.pinned
        self._segment = registry.segment
        self._max_batch_size = max_batch_size
        self._lenient_masks = lenient_masks
        self._loading: dict[Key, asyncio.Task[LoadedPolicy]] = {}
        self._queued: set[Key] = set()  # those of them that requests named
        self._one_at_a_time = asyncio.Lock()  # for the queued ones, so that they leave the cores to the others

    def get_loaded(self, served: ServedModel, version: int | str) -> LoadedPolicy | None:
        """The version with this number or alias if it is in memory, else None. Raises NotFoundError."""
        number = self._number(served, version)
        return served.champion if number is None else self._in_memory(served, number)

    async def select(self, served: ServedModel, version: int | str) -> LoadedPolicy:
        """The version of a model with this number or alias, loaded if necessary.

        Raises NotFoundError, UnavailableError, and what `dqn_serving.policies.loaded.load` raises.
        """
        number = self._number(served, version)
        if number is None:
            return served.require_champion()
        loaded = self._in_memory(served, number)
        if loaded is None:
            loaded = await self.load(served.name, number, in_turn=True)
            current = self._in_memory(served, number)  # a refresh, or another request, may have come first
            if current is not None:
                return current
            self._pinned.put(loaded)
        return loaded

    async def load(self, model: str, version: int, *, in_turn: bool = False) -> LoadedPolicy:
        """Loads a version, or waits while it is being loaded; `in_turn` queues it behind those that requests named.

        Raises what `dqn_serving.policies.loaded.load` raises, and UnavailableError if too many others wait their turn.
        """
        key = (model, version)
        if key not in self._loading:
            if in_turn and len(self._queued) >= self._pinned.capacity:
                raise UnavailableError(f"{len(self._queued)} other versions are waiting to be loaded; try again later.")
            if in_turn:
                self._queued.add(key)
            self._loading[key] = asyncio.create_task(self._load(key))
        return await asyncio.shield(self._loading[key])  # one waiter may be cancelled while others still want it

    async def _load(self, key: Key) -> LoadedPolicy:
        try:
            async with self._one_at_a_time if key in self._queued else contextlib.nullcontext():
                begin = partial(load, lenient_masks=self._lenient_masks)
                return await asyncio.to_thread(begin, self._repository, *key, self._max_batch_size, self._segment)
        finally:
            del self._loading[key]
            self._queued.discard(key)

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
