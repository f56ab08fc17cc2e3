"""What can be said about a repository's versions without changing anything; damage is a finding, not an error."""

import contextlib
from collections.abc import Iterator
from typing import Any

from dqn_models.errors import ModelError
from dqn_models.layout import split_reference
from dqn_models.reader import RepositoryReader

Finding = dict[str, Any]


def describe(repository: RepositoryReader, model: str | None = None) -> list[Finding]:
    """One row for each version of one model or of all: what it is, who points to it, how well it plays."""
    models = [model] if model else repository.models()
    rows = [_row(repository, name, version) for name in models for version in repository.versions(name)]
    if model and not rows:
        repository.resolve(model)  # raises what a reader should know
    return rows


def check(repository: RepositoryReader, reference: str | None = None) -> list[Finding]:
    """Verifies one version, one model or everything, aliases included; `ok` and `error` tell what was found."""
    if reference and "@" in reference:
        model, wanted = split_reference(reference)
        return [_checked(repository, model, repository.resolve(model, wanted))]
    models = [reference] if reference else repository.models()
    findings = [_checked(repository, name, version) for name in models for version in repository.versions(name)]
    if reference and not findings:
        repository.resolve(reference)
    return [*findings, *(finding for name in models for finding in _damaged_aliases(repository, name))]


def _row(repository: RepositoryReader, model: str, version: int) -> Finding:
    row: Finding = {"model": model, "version": version, "aliases": _aliases_of(repository, model, version)}
    try:
        manifest = repository.manifest(model, version)
    except ModelError as error:
        return row | {"error": str(error)}
    return row | {
        "mean_return": manifest.evaluation.mean,
        "environment": manifest.environment.id,
        "origin": manifest.lineage.origin,
        "created_at": f"{manifest.created_at:%Y-%m-%dT%H:%M:%SZ}",
        "decision": manifest.gate.decision if manifest.gate else None,
    }


def _aliases_of(repository: RepositoryReader, model: str, version: int) -> list[str]:
    names = []
    for alias in repository.alias_names(model):
        with contextlib.suppress(ModelError):  # damaged: it names no version
            if repository.alias(model, alias) == version:
                names.append(alias)
    return names


def _checked(repository: RepositoryReader, model: str, version: int) -> Finding:
    try:
        repository.verify(model, version)
    except ModelError as error:
        return {"model": model, "version": version, "ok": False, "error": str(error)}
    return {"model": model, "version": version, "ok": True, "error": None}


def _damaged_aliases(repository: RepositoryReader, model: str) -> Iterator[Finding]:
    for alias in repository.alias_names(model):
        try:
            repository.resolve(model, alias)
        except ModelError as error:
            yield {"model": model, "version": None, "ok": False, "error": str(error)}
