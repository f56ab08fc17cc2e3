"""Which version answers: the champion, or the one that a request names, loaded when it is first asked for."""

import asyncio
from collections import Counter
from typing import Any

from dqn_models.errors import ModelError
from dqn_models.layout import CHAMPION
from dqn_models.reader import RepositoryReader
from dqn_serving.api.explain import shown
from dqn_serving.policies.loaded import LoadedPolicy, load
from dqn_serving.policies.pinned import Key
from dqn_serving.policies.registry import Registry, ServedModel
from dqn_serving.problems import Problem, from_model_error


class VersionSelector:
    """Finds or loads versions; loads run one at a time in a thread, so that they hold up nobody but who asked."""

    def __init__(self, repository: RepositoryReader, registry: Registry, max_batch_size: int) -> None:
        self._repository = repository
        self._pinned = registry.pinned
        self._page = registry.page
        self._max_batch_size = max_batch_size
        self._loading = asyncio.Lock()
        self._wanted: Counter[Key] = Counter()  # requests that wait for a version to be loaded

    async def select(self, served: ServedModel, version: int | str) -> LoadedPolicy:
        """The version of a model with this number or alias. Raises Problem (404, or 503 where it is damaged)."""
        number = self._number(served, version)
        if number is None:
            return served.require_champion()
        loaded = self._in_memory(served, number)
        return loaded or await self._load_in_turn(served, number)

    async def _load_in_turn(self, served: ServedModel, number: int) -> LoadedPolicy:
        key = (served.name, number)
        if key not in self._wanted and len(self._wanted) >= self._pinned.capacity:
            raise Problem(503, f"{len(self._wanted)} other versions are to be loaded first; try again later.")
        self._wanted[key] += 1
        try:
            async with self._loading:
                return self._in_memory(served, number) or await self._load(served, number)
        finally:
            self._wanted[key] -= 1
            if not self._wanted[key]:
                del self._wanted[key]

    def at_hand(self, served: ServedModel, version: int | str) -> LoadedPolicy | None:
        """The version if it is in memory, and so needs no waiting. Raises Problem (404)."""
        number = self._number(served, version)
        return served.champion if number is None else self._in_memory(served, number)

    def _number(self, served: ServedModel, version: int | str) -> int | None:
        if version == CHAMPION:
            return None
        if isinstance(version, int):
            return version
        if version not in served.aliases:
            known = ", ".join(sorted(served.aliases)) or "none"
            raise Problem(404, f"{served.name} has no alias {shown(version)}; aliases are: {known}.")
        return served.aliases[version]

    def _in_memory(self, served: ServedModel, number: int) -> LoadedPolicy | None:
        if served.champion is not None and served.champion.version == number:
            return served.champion
        return self._pinned.get(served.name, number)

    async def _load(self, served: ServedModel, number: int) -> LoadedPolicy:
        arguments: tuple[Any, ...] = (self._repository, served.name, number, self._max_batch_size, self._page)
        try:
            loaded = await asyncio.to_thread(load, *arguments)
        except ModelError as error:
            raise from_model_error(error) from None
        champion = self._in_memory(served, number)  # a refresh may have come first
        if champion is not None:
            return champion
        self._pinned.put(loaded)
        return loaded
