"""Groups of runs: those with the same label, or those that differ only in their seed."""

import dataclasses
import glob
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dqn_training.run.directory import RunDirectory
from dqn_training.tracking.metrics_csv import read_metrics


class Curve(NamedTuple):
    """A metric of one run over its environment steps; [points] each, in chronological order."""

    steps: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that are compared as one group."""

    label: str
    curves: list[Curve]


def find_groups(arguments: Sequence[str], metric: str) -> list[Group]:
    """The groups given by the arguments: run directories or LABEL=DIRECTORY, with any wildcards.

    Raises ValueError if no run matches or a run has no value of the metric yet.
    """
    labelled: dict[str, list[Path]] = {}
    alone: list[Path] = []
    for argument in arguments:
        label, found = _directories(argument)
        if label is None:
            alone += found
        else:
            labelled.setdefault(label, []).extend(found)
    labelled |= dict(_by_settings(alone))
    return [Group(label, [_curve(path, metric) for path in paths]) for label, paths in labelled.items()]


def _directories(argument: str) -> tuple[str | None, list[Path]]:
    """The label, if any, and the directories, whose names may contain an equals sign."""
    label, equals, pattern = argument.partition("=")
    if not equals or Path(argument).exists():
        label, pattern = "", argument
    found = sorted(map(Path, glob.glob(pattern)))  # noqa: PTH207  (the pattern may be absolute)
    if not found:
        raise ValueError(f"There is no {pattern}; expected run directories, such as runs/cartpole-20260101-120000.")
    return label or None, found


def _by_settings(paths: Sequence[Path]) -> Iterator[tuple[str, list[Path]]]:
    """Labels and runs with equal settings; a directory without run.json is a separate group."""
    groups: dict[str, tuple[str, dict[str, Any], list[Path]]] = {}
    for path in paths:
        name, settings = _settings(path)
        groups.setdefault(json.dumps([name, settings], sort_keys=True), (name, settings, []))[2].append(path)
    for name, settings, members in groups.values():
        others = [other for known, other, _ in groups.values() if known == name and other is not settings]
        differing = [key for key in settings if any(other.get(key) != settings[key] for other in others)]
        yield " ".join([name, *(f"{key}={settings[key]}" for key in differing)]), members


def _settings(path: Path) -> tuple[str, dict[str, Any]]:
    run = RunDirectory(path)
    if not run.description.exists():
        return path.name, {"directory": str(path)}
    description = run.read_description()
    settings = {key: value for key, value in description.config.items() if key != "seed"}
    names = dict.fromkeys([description.name, description.preset])  # cartpole's preset is cartpole
    return ", ".join(names), settings


def _curve(path: Path, metric: str) -> Curve:
    """A run's values of the metric, without gaps."""
    metrics = read_metrics(RunDirectory(path).metrics)
    if metric not in metrics:
        raise ValueError(f"{path} has no column {metric}; it has {', '.join(metrics)}.")
    known = np.isfinite(metrics[metric])
    if not known.any():
        raise ValueError(f"{path} has no {metric} yet.")
    return Curve(metrics["env_steps"][known], metrics[metric][known])
