"""The result of a search: the best trials, the importance of settings, the preset file and a plot."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rich
from matplotlib.figure import Figure
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import TrialState
from rich.table import Table

from dqn_training.evaluation.statistics import mean_interval
from dqn_training.presets import preset_text
from dqn_training.tuning.confirm import DEFAULT, Finalist
from dqn_training.tuning.objective import Search
from dqn_training.tuning.space import configuration
from dqn_training.tuning.study import completed, finished

_SHOWN = 10


def importances(study: Study) -> dict[str, float]:
    """Importance of each setting as a fraction (PED-ANOVA, Watanabe et al., 2023); {} below five completed trials."""
    if len(completed(study)) < 5:
        return {}
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {name: part for name, part in found.items() if math.isfinite(part)}


def result(study: Study, confirmed: Sequence[Finalist]) -> dict[str, Any]:
    """The result as JSON; requires a completed trial."""
    best, default = completed(study)[0], study.trials[0]
    return {
        "score": best.value,
        "final_returns": best.user_attrs["final_returns"],
        "settings": best.params,
        "default_score": default.value if default.state == TrialState.COMPLETE else None,
        "confirmed": {one.name: one.scores for one in confirmed},
        "trials": len(finished(study)),
        "completed": len(completed(study)),
        "importance": importances(study),
    }


def write_preset(path: Path, study: Study, search: Search, confirmed: Sequence[Finalist], command_line: str) -> None:
    """Writes the best finalist, or the best trial if nothing was confirmed, as a preset.

    Raises ValueError if no trial has completed.
    """
    if not completed(study):
        raise ValueError(
            f"No trial has completed, {len(finished(study))} were pruned: there is no preset yet. Resume the search "
            "with the same command and a longer --timeout or more --trials."
        )
    best = completed(study)[0]
    config, lines = configuration(search.base, best.params), [f"Found by: {command_line}"]
    seeds = f"seeds {search.run_seeds[0]} to {search.run_seeds[-1]}"
    lines.append(f"Best of {len(finished(study))} trials with {seeds}: {best.value:.2f}.")
    if confirmed:
        config = confirmed[0].config
        scores = ", ".join(f"{one.name} {one.mean:.2f}" for one in confirmed)
        lines.append(f"These are the settings of {confirmed[0].name}.")
        lines.append(f"Mean scores with {len(confirmed[0].scores)} other seeds: {scores}.")
    lines.append("A run's score is the mean over its evaluations of the best return so far.")
    path.write_text(preset_text(config, "\n".join(lines)), encoding="utf-8")


def draw(path: Path, study: Study, title: str) -> None:
    """Plots the scores by trial and the importance of each setting."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    trials = sorted(completed(study), key=lambda trial: trial.number)
    values = [trial.value or 0.0 for trial in trials]
    best = [max(values[: count + 1]) for count in range(len(values))]
    left.plot([trial.number for trial in trials], values, "o", label="trial")
    left.step([trial.number for trial in trials], best, where="post", label="best so far")
    pruned = [trial for trial in finished(study) if trial.state == TrialState.PRUNED and trial.intermediate_values]
    scores = [trial.intermediate_values[max(trial.intermediate_values)] for trial in pruned]
    left.plot([trial.number for trial in pruned], scores, "x", color="0.6", label="pruned: score until then")
    left.set(xlabel="trial", ylabel="score")
    figure.suptitle(title)
    left.legend(loc="lower right")
    fractions = importances(study)
    right.barh(list(fractions)[::-1], list(fractions.values())[::-1])
    right.set(title="importance", xlabel="fraction")
    figure.savefig(path, dpi=100)


def print_table(study: Study) -> None:
    """Prints the best trials with their settings."""
    table = Table("trial", "score", "best evaluations", "settings", title=f"{len(finished(study))} trials")
    for trial in completed(study)[:_SHOWN]:
        returns = ", ".join(f"{value:.1f}" for value in trial.user_attrs["final_returns"])
        values = {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in trial.params.items()}
        settings = ", ".join(f"{name} {value}" for name, value in values.items())
        table.add_row(str(trial.number), f"{trial.value:.2f}", returns, settings)
    rich.print(table)
    if fractions := importances(study):
        rich.print("importance: " + ", ".join(f"{name} {part:.0%}" for name, part in fractions.items()))


def print_confirmed(confirmed: Sequence[Finalist], seeds: range) -> None:
    """Prints the finalists' scores with other seeds, and their paired differences from the default."""
    title = f"confirmed with seeds {seeds[0]} to {seeds[-1]}"
    table = Table("settings of", "score", "worst", "difference from the default", title=title)
    default = next(one for one in confirmed if one.name == DEFAULT)
    for one in confirmed:
        more = np.subtract(one.scores, default.scores)
        low, high = mean_interval(more)
        against = "" if one is default else f"{more.mean():+.2f} (95 %: {low:+.2f} to {high:+.2f})"
        table.add_row(one.name, f"{one.mean:.2f}", f"{min(one.scores):.2f}", against)
    rich.print(table)
    if confirmed[0] is default:
        rich.print("No finalist is better than the default, so the preset is the default.")
