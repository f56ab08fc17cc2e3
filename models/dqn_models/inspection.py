"""Read-only reports on a repository's versions; damage is reported as a finding, not raised as an error."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import NotRequired, TypedDict

from dqn_models.errors import ModelError, RepositoryError
from dqn_models.layout import split_reference
from dqn_models.reader import RepositoryReader


class Row(TypedDict):
    """A version as `dqn-models list` shows it: either details from its manifest or an error."""

    model: str
    version: int | None
    """None if the model's versions cannot be read"""
    aliases: list[str]
    error: NotRequired[str]
    mean_return: NotRequired[float]
    environment: NotRequired[str]
    origin: NotRequired[str]
    created_at: NotRequired[str]
    """RFC 3339, UTC"""
    decision: NotRequired[str | None]
    """the gate's decision; None if there was no gate"""


class Finding(TypedDict):
    """The result of checking a version, or an unreadable model or damaged alias (then `version` is None)."""

    model: str
    version: int | None
    ok: bool
    error: str | None


def describe(repository: RepositoryReader, model: str | None = None) -> list[Row]:
    """One row for each version of one model or of all models.

    Raises NotFoundError for a model without versions, and RepositoryError if the repository cannot be read.
    """
    rows: list[Row] = []
    for name in [model] if model else repository.models():
        try:
            rows += [_row(repository, name, version) for version in repository.versions(name)]
        except RepositoryError as error:
            rows.append({"model": name, "version": None, "aliases": [], "error": str(error)})
    if model and not rows:
        repository.resolve(model)  # raises NotFoundError with an explanation
    return rows


def check(repository: RepositoryReader, reference: str | None = None) -> list[Finding]:
    """Verifies one version, one model or everything, including aliases.

    Raises NotFoundError for a model or version that does not exist, and RepositoryError if the repository cannot be
    read.
    """
    if reference and "@" in reference:
        model, wanted = split_reference(reference)
        return [_checked(repository, model, repository.resolve(model, wanted))]
    models = [reference] if reference else repository.models()
    findings = [finding for name in models for finding in _versions_of(repository, name)]
    if reference and not findings:
        repository.resolve(reference)
    return [*findings, *_damaged_aliases(repository, models)]


def _row(repository: RepositoryReader, model: str, version: int) -> Row:
    row: Row = {"model": model, "version": version, "aliases": _aliases_of(repository, model, version)}
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
        with contextlib.suppress(ModelError):  # a damaged alias names no version
            if repository.alias(model, alias) == version:
                names.append(alias)
    return names


def _versions_of(repository: RepositoryReader, model: str) -> list[Finding]:
    try:
        return [_checked(repository, model, version) for version in repository.versions(model)]
    except RepositoryError as error:
        return [{"model": model, "version": None, "ok": False, "error": str(error)}]


def _checked(repository: RepositoryReader, model: str, version: int) -> Finding:
    try:
        repository.verify(model, version)
    except ModelError as error:
        return {"model": model, "version": version, "ok": False, "error": str(error)}
    return {"model": model, "version": version, "ok": True, "error": None}


def _damaged_aliases(repository: RepositoryReader, models: Iterable[str]) -> Iterator[Finding]:
    for model in models:
        with contextlib.suppress(RepositoryError):  # the whole model cannot be read, which is already a finding
            for alias in repository.alias_names(model):
                try:
                    repository.resolve(model, alias)
                except ModelError as error:
                    yield {"model": model, "version": None, "ok": False, "error": str(error)}
