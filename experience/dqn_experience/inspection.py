"""Read-only inspection of a store's log and datasets."""

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from dqn_experience import datasets
from dqn_experience.compaction.audit import Auditor, QValues
from dqn_experience.compaction.episode_table import JoinSettings
from dqn_experience.compaction.joining import join
from dqn_experience.datasets import Audit, DatasetManifest
from dqn_experience.errors import DamagedError, ExperienceError
from dqn_experience.log import database
from dqn_experience.log.files import log_files
from dqn_experience.log.reading import RowReader, models_in, opened_log, read_log

DEFAULT_STORE = Path("experience/store")


def default_store() -> Path:
    """The store that commands use without `--store`: DQN_EXPERIENCE, else experience/store."""
    return Path(os.environ.get("DQN_EXPERIENCE") or DEFAULT_STORE)


def describe(store: Path, model: str | None = None) -> dict[str, Any]:
    """A summary of the log and, for each model, of its log and datasets, in JSON types."""
    found = log_files(store)
    names = [model] if model else sorted({*models_in(store), *datasets.models(store)})
    rows = [_describe_model(store, name) for name in names]
    damaged = max((row.pop("damaged_rows") for row in rows), default=0)
    log = {
        "files": len(found),
        "live": sum(not file.sealed for file in found),
        "bytes": sum(file.size for file in found),
        "damaged_rows": damaged,
    }
    return {"store": str(store), "log": log, "models": rows}


def _describe_model(store: Path, model: str) -> dict[str, Any]:
    log = read_log(store, model)
    joined = join(log, RowReader(log), time.time_ns() // 1_000_000, JoinSettings())
    episodes = len(set(log.decisions["episode"].tolist()))
    made = [datasets.manifest(store, model, number) for number in datasets.numbers(store, model)]
    return {
        "model": model,
        "decisions": len(log.decisions),
        "outcomes": len(log.outcomes),
        "imported": len(log.imported),
        "episodes": episodes,
        "closed": episodes - joined.open_episodes,
        "versions": sorted({behavior.version for behavior in log.behaviors}),
        "damaged_rows": sum(source.damaged_rows for source in log.sources),
        "datasets": [
            {
                "dataset": described.dataset,
                "created_at": described.created_at,
                "episodes": described.episodes,
                "steps": described.steps,
                "mean_return": described.returns.get("mean"),
            }
            for described in made
        ],
    }


def newest(store: Path, model: str, count: int, episode: str | None = None) -> list[dict[str, Any]]:
    """The newest events of a model, in the order in which they happened, in JSON types."""
    events: list[dict[str, Any]] = []
    found = log_files(store)
    for file in [*(file for file in found if not file.sealed), *(file for file in reversed(found) if file.sealed)]:
        if file.sealed and len(events) >= count:
            break
        with contextlib.suppress(DamagedError, FileNotFoundError), opened_log(file.path) as connection:
            if not database.is_empty(connection):
                events += _events(connection, model, episode)
    events.sort(key=lambda event: event["time"])
    return events[-count:]


def _events(connection: Any, model: str, episode: str | None) -> list[dict[str, Any]]:
    behaviors = {
        number: behavior for number, behavior in database.behaviors(connection).items() if behavior.model == model
    }
    events: list[dict[str, Any]] = []
    for _, run in database.read_runs(connection):
        if run is None or run.behavior not in behaviors:
            continue
        columns = {name: values.tolist() for name, values in run.columns.items()}
        for row, number in enumerate(columns["numbers"]):
            if episode in {None, run.episodes[number]}:
                events.append(
                    {
                        "time": run.time + columns["times"][row],
                        "kind": "decision",
                        "episode": run.episodes[number],
                        "step": columns["steps"][row],
                        "version": behaviors[run.behavior].version,
                        "action": columns["actions"][row],
                        "propensity": _number(columns["propensities"][row]),
                        "epsilon": _number(columns["epsilons"][row]),
                    }
                )
    for of_model, at, outcomes in database.read_outcomes(connection):
        for outcome in outcomes or () if of_model == model else ():
            if episode in {None, outcome.episode}:
                shown: dict[str, Any] = {
                    "time": at,
                    "kind": "outcome",
                    "episode": outcome.episode,
                    "step": outcome.step,
                }
                shown |= {"reward": outcome.reward} | ({"end": outcome.end} if outcome.end else {})
                events.append(shown | ({} if outcome.executed is None else {"executed": outcome.executed}))
    for behavior, at, recorded in database.read_episodes(connection):
        if recorded is not None and behavior in behaviors and episode in {None, recorded.episode}:
            steps = len(recorded.actions)
            events.append({"time": at, "kind": "episode", "episode": recorded.episode, "steps": steps})
    return events


def _number(value: float) -> float | None:
    """A number for JSON, with the digits that float32 has; None for NaN."""
    return None if value != value else float(f"{value:.7g}")  # noqa: PLR0124  (NaN alone differs from itself)


def check(store: Path, model: str | None = None) -> list[dict[str, str]]:
    """Every file of the log and every dataset, with what is wrong with it, or ""."""
    logged = [] if model else log_files(store)
    results = [{"what": file.path.name, "error": _check_file(file.path)} for file in logged]
    for name in [model] if model else datasets.models(store):
        for number in datasets.numbers(store, name):
            error = ""
            try:
                for _ in datasets.parts(store, datasets.manifest(store, name, number)):
                    pass
            except ExperienceError as damage:
                error = str(damage)
            results.append({"what": f"{name}@{number}", "error": error})
    return results


def _check_file(path: Path) -> str:
    damaged = 0
    try:
        with opened_log(path) as connection:
            if database.is_empty(connection):
                return ""
            known = database.behaviors(connection)
            damaged += connection.execute("SELECT count(*) FROM behaviors").fetchone()[0] - len(known)
            for number, run in database.read_runs(connection):
                damaged += run is None or not _has_rows(connection, number)
            damaged += sum(outcomes is None for _, _, outcomes in database.read_outcomes(connection))
            damaged += sum(recorded is None for _, _, recorded in database.read_episodes(connection))
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except FileNotFoundError:
        return ""
    except DamagedError as error:
        return str(error)
    if damaged:
        return f"{damaged} rows are not what was written; the others can be read."
    return "" if found == "ok" else f"SQLite reports: {found}."


def _has_rows(connection: Any, number: int) -> bool:
    try:
        database.read_rows(connection, number)
    except DamagedError:
        return False
    return True


def audit(store: Path, described: DatasetManifest, q_values: QValues) -> Audit:
    """Recomputes every propensity of a dataset. Raises DamagedError."""
    auditor = Auditor(described.behaviors, described.n_actions, q_values)
    for part in datasets.parts(store, described):
        auditor.audit(part)
    return auditor.result


def released_files(store: Path) -> list[Path]:
    """Sealed files of the log that no dataset needs any more: all their episodes began before the watermarks."""
    watermarks: dict[str, int] = {}
    for model in datasets.models(store):
        numbers = datasets.numbers(store, model)
        if numbers:
            watermarks[model] = datasets.manifest(store, model, numbers[-1]).watermark
    released = []
    for file in log_files(store):
        if not file.sealed:
            continue
        with contextlib.suppress(DamagedError, FileNotFoundError), opened_log(file.path) as connection:
            models = {behavior.model for behavior in database.behaviors(connection).values()}
            models |= {model for (model,) in connection.execute("SELECT DISTINCT model FROM outcomes")}
            last = database.last_time(connection)
            if all(last < watermarks.get(model, 0) for model in models):
                released.append(file.path)
    return released
