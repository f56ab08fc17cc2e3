"""`dqn-models`: inspect the model repository and change which versions are served."""

import sys
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tyro.extras import SubcommandApp

from dqn_models import cli_support, inspection
from dqn_models.errors import ModelError
from dqn_models.layout import CHAMPION, split_reference
from dqn_models.repository import ModelRepository

app = SubcommandApp()

Repository = Annotated[
    Path | None, tyro.conf.arg(metavar="DIR", help="model repository; if not given: $DQN_REPOSITORY, else models/store")
]
AsJson = Annotated[bool, tyro.conf.arg(help="print the result as one line of JSON instead of text")]
ModelName = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL", help="name of the model")]
Reference = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="MODEL[@VERSION]", help="model, with a version number or an alias (default: champion)"),
]
Alias = Annotated[str, tyro.conf.arg(help="alias to change; dqn-serve serves `champion` by default")]
Reason = Annotated[str, tyro.conf.arg(help="reason for the change, recorded in the model's history")]


def _open(repository: Path | None) -> ModelRepository:
    return ModelRepository(repository or cli_support.default_repository())


@app.command(name="list")
def list_versions(
    model: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[MODEL]", help="only this model")] = None,
    /,
    *,
    repository: Repository = None,
    json: AsJson = False,
) -> None:
    """List models and versions with their aliases and mean returns."""
    store = _open(repository)
    rows = inspection.describe(store, model)
    if json:
        cli_support.print_json(rows)
        return
    if not rows:
        print(f"No models in {store.root} yet. Train one: dqn-train")
        return
    table = Table("model", "version", "alias", "mean return", "environment", "origin", "created", "gate")
    for row in rows:
        shown = [row["model"], str(row["version"] or "-"), ", ".join(row["aliases"])]
        if "error" in row:
            table.add_row(*shown, f"[red]{escape(row['error'])}[/red]")
        else:
            details = [row["environment"], row["origin"], row["created_at"], row["decision"] or "-"]
            table.add_row(*shown, f"{row['mean_return']:.2f}", *details)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@app.command
def show(reference: Reference, /, *, repository: Repository = None, json: AsJson = False) -> None:
    """Print a version's manifest."""
    store = _open(repository)
    model, version = split_reference(reference)
    manifest = store.manifest(model, store.resolve(model, version))
    if json:
        cli_support.print_json(manifest.model_dump(mode="json"))
    else:
        print(manifest.dump().decode(), end="")


@app.command
def promote(
    reference: Reference,
    /,
    *,
    alias: Alias = CHAMPION,
    reason: Reason = "",
    repository: Repository = None,
    json: AsJson = False,
) -> None:
    """Point an alias at this version; servers pick up a new champion within a second or two."""
    store = _open(repository)
    model, wanted = split_reference(reference)
    if wanted == CHAMPION:
        raise cli_support.UsageError(
            f"Specify the version to promote, e.g. {model}@{max(store.versions(model) or [1])}."
        )
    version = store.resolve(model, wanted)
    previous = store.promote(model, version, alias=alias, reason=reason)
    _report({"model": model, "alias": alias, "version": version, "previous": previous}, as_json=json)


@app.command
def rollback(
    model: ModelName,
    /,
    *,
    alias: Alias = CHAMPION,
    reason: Reason = "",
    repository: Repository = None,
    json: AsJson = False,
) -> None:
    """Point an alias back at its previous version."""
    store = _open(repository)
    previous = store.alias(model, alias)
    version = store.rollback(model, alias=alias, reason=reason)
    _report({"model": model, "alias": alias, "version": version, "previous": previous}, as_json=json)


@app.command
def verify(
    model: Annotated[
        str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[MODEL[@VERSION]]", help="only this model or version")
    ] = None,
    /,
    *,
    repository: Repository = None,
    json: AsJson = False,
) -> None:
    """Check every file against its manifest and load every policy; exits with 1 if a version or an alias is damaged."""
    results = inspection.check(_open(repository), model)
    if json:
        cli_support.print_json(results)
    else:
        for result in results:
            suffix = f" version {result['version']}" if result["version"] else ""
            print(f"{result['model']}{suffix}: {result['error'] or 'ok'}")
    damaged = sum(not result["ok"] for result in results)
    if damaged:
        raise ModelError(f"{damaged} of {len(results)} checks failed.")


@app.command
def prune(
    model: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[MODEL]", help="only this model")] = None,
    /,
    *,
    keep: Annotated[int, tyro.conf.arg(help="number of newest versions to keep")] = 5,
    dry_run: Annotated[bool, tyro.conf.arg(help="print what would be removed, without removing it")] = False,
    repository: Repository = None,
    json: AsJson = False,
) -> None:
    """Remove old versions and the leftovers of crashes; versions with an alias and rollback targets are kept."""
    if keep < 1:
        raise cli_support.UsageError(f"--keep is {keep}; at least one version must be kept.")
    store = _open(repository)
    results = []
    for name in [model] if model else store.models():
        pruned = store.prune(name, keep=keep, dry_run=dry_run)
        results.append({"model": name, "versions": pruned.versions, "garbage": pruned.garbage, "dry_run": dry_run})
    if json:
        cli_support.print_json(results)
        return
    for result in results:
        verb = "would remove" if dry_run else "removed"
        print(f"{result['model']}: {verb} versions {result['versions']} and crash leftovers {result['garbage']}")


def _report(change: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        cli_support.print_json(change)
    else:
        print(f"{change['alias']} of {change['model']} is now version {change['version']} (was {change['previous']})")


def main() -> None:
    """Entry point of `dqn-models`."""
    sys.exit(
        cli_support.run(lambda: app.cli(prog="dqn-models", description=__doc__, config=(tyro.conf.FlagCreatePairsOff,)))
    )
