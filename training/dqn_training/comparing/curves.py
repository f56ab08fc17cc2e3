"""Statistics of groups of runs, with 95 % bootstrap intervals over the runs (Efron & Tibshirani, 1993)."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.figure import Figure

from dqn_training.comparing.groups import Curve, Group
from dqn_training.evaluation.statistics import Floats, interquartile_mean, resampled

Statistic = Literal["mean", "iqm"]

_INTERVAL = (2.5, 97.5)  # percentiles


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A statistic of a group and its interval, which requires two runs; None where not finite."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True)
class Summary:
    """A row of the table."""

    label: str
    runs: int
    final: Estimate  # value at the end
    area: Estimate  # mean value over the steps
    reached: int | None  # runs that reached the threshold
    steps_to_threshold: Estimate | None  # median; a run that did not reach it counts as infinite


def steps_axis(groups: list[Group], points: int = 200) -> Floats:
    """The environment steps at which curves are compared: from where all have a value to the end of the longest."""
    curves = [curve for group in groups for curve in group.curves]
    return np.linspace(max(curve.steps[0] for curve in curves), max(curve.steps[-1] for curve in curves), points)


def summary(group: Group, steps: Floats, statistic: Statistic, threshold: float | None) -> Summary:
    """A group's row of the table."""
    values, chosen = _values(group, steps), _STATISTICS[statistic]
    reached = None if threshold is None else np.array([_steps_to(curve, threshold) for curve in group.curves])
    return Summary(
        label=group.label,
        runs=len(group.curves),
        final=_estimate(values[:, -1], chosen),
        area=_estimate(values.mean(axis=1), chosen),
        reached=None if reached is None else int(np.isfinite(reached).sum()),
        steps_to_threshold=None if reached is None else _estimate(reached, _median),
    )


def _values(group: Group, steps: Floats) -> Floats:
    """The runs' values at these steps, [runs, points]. A run that stopped early keeps its last value."""
    return np.stack([np.interp(steps, *curve) for curve in group.curves])


def _median(values: Floats) -> Floats:
    """The lower median, which is always one of the values, so that it can be infinite."""
    return np.asarray(np.sort(values, axis=0)[(len(values) - 1) // 2])


_STATISTICS: dict[Statistic, Callable[[Floats], Floats]] = {
    "mean": lambda values: np.asarray(values.mean(axis=0)),
    "iqm": interquartile_mean,
}


def _estimate(values: Floats, statistic: Callable[[Floats], Floats]) -> Estimate:
    """The statistic of one value per run, [runs], with its interval."""
    numbers = [float(statistic(values))]
    if len(values) > 1:  # "nearest", as infinite values cannot be interpolated
        numbers += np.percentile(resampled(values, statistic), _INTERVAL, method="nearest").tolist()
    return Estimate(*(number if np.isfinite(number) else None for number in numbers))


def _steps_to(curve: Curve, threshold: float) -> float:
    """Environment steps until the first value at or above the threshold; infinite if no value reaches it."""
    there = np.flatnonzero(curve.values >= threshold)
    return float(curve.steps[there[0]]) if len(there) else float("inf")


def draw_comparison(
    path: Path, groups: list[Group], statistic: Statistic, metric: str, threshold: float | None
) -> None:
    """Plots a learning curve for each group with its interval as a shaded band, as PNG."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    steps, chosen = steps_axis(groups), _STATISTICS[statistic]
    for number, group in enumerate(groups):
        color, values = f"C{number % 10}", _values(group, steps)
        low, high = np.percentile(resampled(values, chosen), _INTERVAL, axis=0)
        runs = f"{len(group.curves)} run{'s' * (len(group.curves) > 1)}"
        axes.plot(steps, chosen(values), color=color, label=f"{group.label} ({runs})")
        axes.fill_between(steps, low, high, color=color, alpha=0.2, lw=0)
    if threshold is not None:
        axes.axhline(threshold, color="0.5", ls="--", lw=1)
    axes.set(xlabel="environment steps", ylabel=metric.replace("_", " "))
    axes.legend(loc="best")
    figure.savefig(path, format="png", dpi=120)
