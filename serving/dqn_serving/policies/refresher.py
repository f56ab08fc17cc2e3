"""Keeps the models in memory in step with the aliases: polls, loads in the background, and swaps or keeps the old."""

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal, NamedTuple

import structlog

from dqn_models.errors import ModelError
from dqn_models.layout import CHAMPION
from dqn_models.reader import RepositoryReader
from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.loader import Loader
from dqn_serving.policies.registry import Registry, ServedModel

_FIRST_RETRY_SECONDS = 1.0
_LAST_RETRY_SECONDS = 60.0
_REPLACED = "The repository now has other bytes under the same version number."

log = structlog.get_logger()


class Refreshed(NamedTuple):
    """The outcome of checking one model."""

    outcome: Literal["refreshed", "unchanged", "failed"]
    detail: str | None = None


@dataclass
class _Failure:
    """A champion that could not be read or loaded: logged and counted once, retried at growing intervals."""

    cause: int | str
    detail: str
    retry_at: float
    pause: float = _FIRST_RETRY_SECONDS


class Refresher:
    """Watches every model of a repository."""

    def __init__(self, repository: RepositoryReader, registry: Registry, loader: Loader) -> None:
        self._repository = repository
        self._registry = registry
        self._loader = loader
        self._failures: dict[str, _Failure] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def poll(self) -> None:
        """Checks every model once; to be called periodically."""
        names, replaced = await asyncio.to_thread(self._changed)
        for loaded in replaced:
            self._registry.pinned.forget(loaded)
            log.warning("version replaced", model=loaded.model, version=loaded.version, detail=_REPLACED)
        for name in names:
            await self.refresh(name)
        self._registry.choose_default()
        self._registry.note_loaded()

    def _changed(self) -> tuple[list[str], list[LoadedPolicy]]:
        """The models that need a refresh, and the pinned versions that the repository has replaced.

        A model needs one if its aliases or its champion are not those in memory, or the last refresh failed.
        """
        names = [name for name in self._names() if name in self._failures or not self._is_current(name)]
        return names, [loaded for loaded in self._registry.pinned if self._is_replaced(loaded)]

    def _is_replaced(self, loaded: LoadedPolicy) -> bool:
        """Whether the repository now has other bytes under this number; a removed version is still served."""
        try:
            return self._repository.manifest_digest(loaded.model, loaded.version) != loaded.digest
        except (ModelError, OSError):
            return False

    def _is_current(self, name: str) -> bool:
        served = self._registry.models.get(name)
        if served is None or served.champion is None:
            return False
        try:
            aliases = self._repository.aliases(name)
        except (ModelError, OSError):
            return False
        is_same = aliases == served.aliases and aliases.get(CHAMPION) == served.champion.version
        return is_same and not self._is_replaced(served.champion)

    def _names(self) -> list[str]:
        """The models in the repository and those in memory: one that has gone from the disk is still served."""
        try:
            found = self._repository.models()
        except (ModelError, OSError) as error:
            if self._registry.read_error is None:
                log.error("repository unreadable", detail=str(error))  # noqa: TRY400  (the detail is enough)
            self._registry.read_error = str(error)
            return list(self._registry.models)
        self._registry.read_error = None
        return sorted({*found, *self._registry.models})

    async def refresh(self, name: str, *, at_once: bool = False) -> Refreshed:
        """Serves the champion that the repository has for a model; `at_once` does not wait for a pending retry."""
        async with self._locks[name]:
            started = time.perf_counter()
            is_known = name in self._registry.models
            served = self._registry.add(name)
            try:
                version = await asyncio.to_thread(self._observe, served)
            except (ModelError, OSError) as error:
                return self._fail(served, str(error), str(error), started)
            if version is None and not is_known:
                log.warning("no champion", model=name, detail=served.describe_unavailability())
            champion = served.champion if served.champion and served.champion.version == version else None
            is_replaced = champion is not None and await asyncio.to_thread(self._is_replaced, champion)
            if version is None or (champion is not None and not is_replaced):
                self._failures.pop(name, None)
                return Refreshed("unchanged")
            if is_replaced and name not in self._failures:
                log.warning("version replaced", model=name, version=version, detail=_REPLACED)
            failure = self._failures.get(name)
            if failure and failure.cause == version and not at_once and time.monotonic() < failure.retry_at:
                return Refreshed("failed", failure.detail)
            return await self._replace(served, version, started)

    def _observe(self, served: ServedModel) -> int | None:
        """The version that should answer; remembers the other aliases as far as they can be read."""
        champion = self._repository.alias(served.name)
        aliases: dict[str, int] = {}
        for alias in self._repository.alias_names(served.name):
            try:
                version = champion if alias == CHAMPION else self._repository.alias(served.name, alias)
            except ModelError:
                version = served.aliases.get(alias)
            if version is not None:
                aliases[alias] = version
        if aliases or champion is not None:
            served.aliases = aliases
        return champion

    async def _replace(self, served: ServedModel, version: int, started: float) -> Refreshed:
        try:
            loaded = self._registry.pinned.pop(served.name, version)
            if loaded is not None and await asyncio.to_thread(self._is_replaced, loaded):
                self._registry.pinned.forget(loaded)
                loaded = None
            loaded = loaded or await self._loader.load(served.name, version)
        except (ModelError, OSError) as error:
            return self._fail(served, version, str(error), started)
        except Exception as error:
            log.exception("refresh failed unexpectedly", model=served.name, version=version)
            return self._fail(served, version, f"{type(error).__name__}: {error}", started)
        previous, served.champion = served.champion, loaded
        self._registry.pinned.pop(served.name, version)  # a request that waited for it may have pinned it
        self._failures.pop(served.name, None)
        seconds = time.perf_counter() - started
        served.measures.refreshes.add("success")
        served.measures.refresh_duration.observe(seconds)
        was = previous.version if previous else None
        log.info("refreshed", model=served.name, version=version, previous=was, seconds=round(seconds, 4))
        return Refreshed("refreshed")

    def _fail(self, served: ServedModel, cause: int | str, detail: str, started: float) -> Refreshed:
        failure = self._failures.get(served.name)
        if failure and failure.cause == cause:
            failure.pause = min(2 * failure.pause, _LAST_RETRY_SECONDS)
            failure.retry_at = time.monotonic() + failure.pause
            return Refreshed("failed", detail)
        self._failures[served.name] = _Failure(cause, detail, time.monotonic() + _FIRST_RETRY_SECONDS)
        served.unavailable_reason = f"has no champion that loads: {detail.rstrip('.')}"
        served.measures.refreshes.add("failure")
        served.measures.refresh_duration.observe(time.perf_counter() - started)
        still = served.champion.version if served.champion else None
        log.error("refresh failed", model=served.name, champion=cause, still_served=still, detail=detail)
        return Refreshed("failed", detail)
