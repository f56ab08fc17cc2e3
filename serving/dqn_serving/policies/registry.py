"""The models in memory. What is on disk is `models.repository`; the refresher brings one to the other."""

from collections.abc import Iterator

from dqn_serving.policies.loaded import LoadedPolicy
from dqn_serving.policies.pinned import PinnedVersions
from dqn_serving.problems import Problem
from dqn_serving.telemetry.metrics import ModelMeasures
from dqn_serving.telemetry.shared_memory import Name, Page

FALLBACK_MODEL = "cartpole"
_LOADED = "loaded"


class ServedModel:
    """One model: the champion that answers, the aliases last seen and what prevents a champion, if anything does."""

    def __init__(self, name: str, where: str, page: Page) -> None:
        """`where` is the repository, for messages; `page` is where to count."""
        self.name = name
        self._where = where
        self.measures = ModelMeasures(page, name)
        self.champion: LoadedPolicy | None = None
        self.aliases: dict[str, int] = {}
        self.trouble = "has no champion yet"

    def require_champion(self) -> LoadedPolicy:
        """The champion. Raises Problem (503) where there is none."""
        if self.champion is None:
            raise Problem(503, self.why_no_champion())
        return self.champion

    def why_no_champion(self) -> str:
        """Why there is no champion, and the command that would help."""
        promote = f"dqn-models promote {self.name}@VERSION --repository {self._where}"
        return f"{self.name} {self.trouble}. Promote a version: {promote}"


class Registry:
    """All models that this process serves."""

    def __init__(self, default: str | None, where: str, max_loaded_versions: int, page: Page) -> None:
        """`default` is the model meant by calls that name none; None chooses it once there is one to choose."""
        self.page = page
        self._noted: set[Name] = {
            name for name, _ in page.records() if name[0] == _LOADED
        }  # by the worker before this one
        self.models: dict[str, ServedModel] = {}
        self.pinned = PinnedVersions(max_loaded_versions, self._is_champion)
        self.default = default
        self._where = where

    def add(self, name: str) -> ServedModel:
        """The model of this name, from now on served."""
        if name not in self.models:
            self.models[name] = ServedModel(name, self._where, self.page)
        return self.models[name]

    def choose_default(self) -> None:
        """Settles what calls without a model mean, once and for all: a model published later must not change it."""
        if self.default is None and FALLBACK_MODEL in self.models:
            self.default = FALLBACK_MODEL
        elif self.default is None and len(self.models) == 1:
            self.default = next(iter(self.models))

    def get(self, name: str | None) -> ServedModel:
        """The named model, or the default one. Raises Problem: 404 unknown, 503 no default yet."""
        served = self.models.get((self.default or "") if name is None else name)
        if served is not None:
            return served
        if name is None:
            raise Problem(503, self.missing_default())
        known = ", ".join(sorted(self.models)[:10]) or "none"
        raise Problem(404, f"There is no model {name[:128]!r} here; models are: {known}.")

    def missing_default(self) -> str:
        """Why there is no default model, and what would help."""
        train = f"dqn-train --repository {self._where}"
        if self.default is not None:
            return f"There is no model {self.default!r} in {self._where} yet. Train one: {train} --name {self.default}"
        if self.models:
            known = ", ".join(sorted(self.models)[:10])
            return f"There are several models ({known}) and none is the default. Name one, or set DQN_MODEL."
        return f"There is no model in {self._where} yet. Train one: {train}"

    def not_ready(self) -> str | None:
        """Why requests without a model's name cannot be answered; None when they can."""
        served = self.models.get(self.default or "")
        if served is None:
            return self.missing_default()
        if served.champion is None:
            return served.why_no_champion()
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
        """Notes on the page which versions are in memory now, for whichever worker is asked for metrics."""
        now: set[Name] = {
            (_LOADED, loaded.model, str(loaded.version), loaded.manifest.environment.id, loaded.sha256)
            for loaded in self.loaded()
        }
        for name in now ^ self._noted:
            self.page.numbers(name, 1)[0] = float(name in now)
        self._noted = now

    def loaded_versions(self, model: str) -> list[int]:
        """The numbers of a model's versions in memory."""
        return sorted(loaded.version for loaded in self.loaded() if loaded.model == model)
