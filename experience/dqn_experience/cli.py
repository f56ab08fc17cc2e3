"""`dqn-experience`: inspect what production recorded, and turn it into datasets for training."""

import sys
import time
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from tyro.extras import SubcommandApp

from dqn_experience import datasets, inspection
from dqn_experience import export as exporting
from dqn_experience.compaction.audit import QValues
from dqn_experience.compaction.compact import LOCK, Compacted, compact
from dqn_experience.compaction.episode_table import JoinSettings
from dqn_experience.errors import ExperienceError
from dqn_experience.log import files
from dqn_experience.log.reading import models_in
from dqn_experience.records import Behavior
from dqn_models import cli_support, durable
from dqn_models.errors import ModelError
from dqn_models.layout import ONNX_FILE
from dqn_models.policy import Policy
from dqn_models.reader import RepositoryReader

app = SubcommandApp()

Store = Annotated[
    Path | None,
    tyro.conf.arg(
        metavar="DIR", help="directory of the experience store (default: $DQN_EXPERIENCE, else experience/store)"
    ),
]
Repository = Annotated[
    Path | None,
    tyro.conf.arg(
        metavar="DIR",
        help="model repository whose versions recompute the recorded propensities (default: $DQN_REPOSITORY)",
    ),
]
AsJson = Annotated[bool, tyro.conf.arg(help="print one JSON line instead of text")]
Model = Annotated[
    str | None,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="[MODEL]", help="name of the only model to process (default: all models)"),
]
Reference = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="MODEL[@DATASET]", help="name of the model and number of the dataset (default: the latest)"),
]


@app.command
def stat(model: Model = None, /, *, store: Store = None, json: AsJson = False) -> None:
    """Summarize the log and the datasets: events, bytes, open and closed episodes, returns."""
    found = inspection.describe(_store(store), model)
    if json:
        cli_support.print_json(found)
        return
    log = found["log"]
    print(f"Log: {log['files']} files ({log['live']} live), {log['bytes']:,} bytes, {log['damaged_rows']} damaged rows")
    if not found["models"]:
        print(f"No experience in {_store(store)} yet.")
        return
    table = Table("model", "decisions", "outcomes", "whole", "episodes", "closed", "datasets", "steps", "mean return")
    for row in found["models"]:
        shown = [f"{row[name]:,}" for name in ("decisions", "outcomes", "imported", "episodes", "closed")]
        last = row["datasets"][-1] if row["datasets"] else {"steps": 0, "mean_return": None}
        mean = "-" if last["mean_return"] is None else f"{last['mean_return']:.2f}"
        table.add_row(row["model"], *shown, str(len(row["datasets"])), f"{last['steps']:,}", mean)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


@app.command
def tail(
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL", help="name of the model")],
    /,
    *,
    count: Annotated[int, tyro.conf.arg(help="number of events to show")] = 20,
    episode: Annotated[str | None, tyro.conf.arg(metavar="NAME", help="show only the events of this episode")] = None,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Print the newest decisions and outcomes of a model, in the order in which they happened."""
    if count < 1:
        raise cli_support.UsageError(f"--count is {count}; at least one event must be shown.")
    events = inspection.newest(_store(store), model, count, episode)
    if json:
        cli_support.print_json(events)
        return
    for event in events:
        at = time.strftime("%H:%M:%S", time.gmtime(event["time"] / 1000))
        rest = " ".join(f"{name}={value}" for name, value in event.items() if name not in {"time", "kind"})
        print(f"{at} {event['kind']:<8} {rest}")


@app.command
def verify(model: Model = None, /, *, store: Store = None, json: AsJson = False) -> None:
    """Check every row of the log and every file of every dataset; exits with 1 if something is damaged."""
    results = inspection.check(_store(store), model)
    if json:
        cli_support.print_json(results)
    else:
        for result in results:
            print(f"{result['what']}: {result['error'] or 'ok'}")
    damaged = sum(bool(result["error"]) for result in results)
    if damaged:
        raise ModelError(f"{damaged} of {len(results)} files and datasets are damaged.")


@app.command
def audit(reference: Reference, /, *, store: Store = None, repository: Repository = None, json: AsJson = False) -> None:
    """Recompute every propensity of a dataset from the versions that acted; exits with 1 if one is wrong."""
    place = _store(store)
    described = datasets.manifest(place, *datasets.resolve(place, reference))
    result = inspection.audit(place, described, _q_values(repository))
    shown = {"model": described.model, "dataset": described.dataset, **msgspec.to_builtins(result)}
    if json:
        cli_support.print_json(shown)
    else:
        print(
            f"{described.model}@{described.dataset}: {result.checked:,} propensities recomputed, {result.wrong} wrong, "
            f"{result.ties} ties, {result.skipped} skipped (without a version, or with one that is gone)"
        )
    if result.wrong:
        raise ModelError(f"{result.wrong} of {result.checked} propensities are not what their version gives.")


@app.command(name="compact")
def make_datasets(
    model: Model = None,
    /,
    *,
    idle_seconds: Annotated[
        float, tyro.conf.arg(help="seconds without new records after which an open episode counts as abandoned")
    ] = 60.0,
    reward_wait_seconds: Annotated[
        float, tyro.conf.arg(help="seconds that an episode waits for missing rewards")
    ] = 600.0,
    missing_reward: Annotated[
        float | None,
        tyro.conf.arg(metavar="VALUE", help="value of a reward that never arrived (default: leave its episode out)"),
    ] = None,
    skip_audit: Annotated[
        bool, tyro.conf.arg(help="do not check recorded propensities against the versions in the repository")
    ] = False,
    store: Store = None,
    repository: Repository = None,
    json: AsJson = False,
) -> None:
    """Join decisions and outcomes, close episodes, and make a dataset of the episodes that began since the last one.

    Safe to repeat, or to kill, at any time: a dataset exists only once it is complete.
    """
    place = _store(store)
    settings = JoinSettings(idle_seconds, reward_wait_seconds, missing_reward)
    results: list[dict[str, Any]] = []
    for name in [model] if model else models_in(place):
        made = compact(place, name, settings, q_values=None if skip_audit else _q_values(repository))
        results.append(_described(name, made))
        if not json:
            print(_sentence(name, made))
    if json:
        cli_support.print_json(results)
    elif not results:
        print(f"No experience in {place} yet.")


@app.command
def export(
    reference: Reference,
    /,
    *,
    to: Annotated[
        Literal["parquet", "minari"],
        tyro.conf.arg(
            help="parquet: one file with a row a step (extra parquet); minari: a Minari dataset (extra minari)"
        ),
    ],
    output: Annotated[
        Path,
        tyro.conf.arg(metavar="PATH", help="the Parquet file, or the folder of Minari datasets that gets this one"),
    ],
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Write a dataset for other tools; actions are indices."""
    place = _store(store)
    described = datasets.manifest(place, *datasets.resolve(place, reference))
    shown: dict[str, Any] = {"model": described.model, "dataset": described.dataset, "output": str(output)}
    with cli_support.needs_extra(f"--to {to}", to):
        if to == "parquet":
            shown["rows"] = exporting.write_parquet(place, described, output)
        else:
            shown["minari"] = exporting.write_minari(place, described, output)
    if json:
        cli_support.print_json(shown)
    elif to == "parquet":
        print(f"{described.model}@{described.dataset}: {shown['rows']:,} rows in {output}")
    else:
        print(f"{described.model}@{described.dataset}: minari.load_dataset({shown['minari']!r}), below {output}")


@app.command
def prune(
    model: Model = None,
    /,
    *,
    keep: Annotated[int, tyro.conf.arg(help="number of the newest datasets to keep for each model")] = 20,
    dry_run: Annotated[bool, tyro.conf.arg(help="only report what would be removed")] = False,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Remove old datasets, what killed compactions left, and log files whose episodes are all in datasets."""
    if keep < 1:
        raise cli_support.UsageError(f"--keep is {keep}; at least one dataset must be kept.")
    place = _store(store)
    results: list[dict[str, Any]] = []
    for name in [model] if model else datasets.models(place):
        with durable.exclusive_lock(datasets.folder_of(place, name) / LOCK, "a compaction", 0.0):
            old, left = datasets.prune(place, name, keep, dry_run=dry_run)
        results.append({"model": name, "datasets": old, "garbage": left})
    released = [] if model else inspection.released_files(place)
    for path in () if dry_run else released:
        files.remove(path)
    found = {"models": results, "files": [path.name for path in released], "dry_run": dry_run}
    if json:
        cli_support.print_json(found)
        return
    verb = "would remove" if dry_run else "removed"
    for result in results:
        print(f"{result['model']}: {verb} datasets {result['datasets']} and crash leftovers {result['garbage']}")
    print(f"log: {verb} {len(released)} files")


def _store(store: Path | None) -> Path:
    return store or inspection.default_store()


def _q_values(repository: Path | None) -> QValues:
    """Q-values by the repository's own ONNX files; each version is loaded once, and None if it is gone."""
    models = RepositoryReader(repository or cli_support.default_repository())

    @cache
    def policy_of(model: str, version: int, sha256: str) -> Policy | None:
        try:
            described = models.manifest(model, version)
            return models.load_policy(model, version) if described.files[ONNX_FILE].sha256 == sha256 else None
        except ModelError:
            return None

    def q_values(behavior: Behavior, observations: NDArray[Any]) -> NDArray[np.float32] | None:
        policy = policy_of(behavior.model, behavior.version, behavior.sha256)
        if policy is None or observations.shape[1:] != policy.observation_shape:
            return None
        return policy.q_values(observations.astype(policy.observation_dtype, copy=False))

    return q_values


def _described(model: str, made: Compacted) -> dict[str, Any]:
    found = {"model": model, "dataset": None, "open_episodes": made.open_episodes, "dropped": made.dropped}
    if made.dataset is not None:
        found |= msgspec.to_builtins(made.dataset)
    return found


def _sentence(model: str, made: Compacted) -> str:
    left = ", ".join(f"{count} {reason}" for reason, count in sorted(made.dropped.items()))
    rest = f"; left out: {left}" if left else ""
    if made.dataset is None:
        return f"{model}: nothing to release, {made.open_episodes} episodes are open{rest}"
    done = made.dataset
    checked = "not audited" if done.audit is None else f"{done.audit.wrong} of {done.audit.checked} propensities wrong"
    mean = f"{done.returns['mean']:.2f}" if done.returns else "-"
    return (
        f"{model}@{done.dataset}: {done.episodes} episodes, {done.steps:,} steps, mean return {mean}, {checked}, "
        f"{made.open_episodes} episodes are open{rest}"
    )


def _run() -> None:
    try:
        app.cli(prog="dqn-experience", description=__doc__, config=(tyro.conf.FlagCreatePairsOff,))
    except ExperienceError as error:  # ends the command as an error of models does: with one sentence
        raise ModelError(str(error)) from error


def main() -> None:
    """Entry point of `dqn-experience`."""
    sys.exit(cli_support.run(_run))
