"""What came of a search: the best trials, which settings mattered, the preset file and a picture."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

from training.preset_file import preset_text
from training.tuning.objective import Search
from training.tuning.space import configuration
from training.tuning.study import finished

_SHOWN = 10


def completed(study: Study) -> list[FrozenTrial]:
    """The trials that were trained to their end, the best first."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(trials, key=lambda trial: -(trial.value or 0.0))


def importances(study: Study) -> dict[str, float]:
    """The share of each setting in what the trials differ by (PED-ANOVA, Watanabe et al., 2023); {} for few trials."""
    if len(completed(study)) < 5:
        return {}
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {name: share for name, share in found.items() if math.isfinite(share)}


def result(study: Study) -> dict[str, Any]:
    """The result as JSON. Raises ValueError where no trial was trained to its end."""
    best = best_trial(study)
    return {
        "score": best.value,
        "final_returns": best.user_attrs["final_returns"],
        "settings": best.params,
        "default_score": next((trial.value for trial in completed(study) if trial.number == 0), None),
        "trials": len(finished(study)),
        "completed": len(completed(study)),
        "importance": importances(study),
    }


def best_trial(study: Study) -> FrozenTrial:
    """The trial with the highest score. Raises ValueError where none was trained to its end."""
    best = completed(study)
    if not best:
        raise ValueError(
            f"No trial was trained to its end, {len(finished(study))} were given up: there is no preset yet. The same "
            "command with a longer --timeout or more --trials goes on."
        )
    return best[0]


def write_preset(path: Path, study: Study, search: Search, command_line: str) -> None:
    """Writes the best trial's settings as a preset. Raises ValueError where there is none."""
    best = best_trial(study)
    returns = ", ".join(f"{value:.2f}" for value in best.user_attrs["final_returns"])
    last = search.first_seed + search.seeds - 1
    heading = (
        f"Found by: {command_line}\n"
        f"Trial {best.number} of {len(finished(study))}: score {best.value:.2f}, the mean over a run of its best "
        f"evaluation so far.\nBest evaluations with seeds {search.first_seed} to {last}: {returns}."
    )
    path.write_text(preset_text(configuration(search.base, best.params), heading), encoding="utf-8")


def draw(path: Path, study: Study, title: str) -> None:
    """The scores in the order of the trials, and the importance of each setting."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    trials = sorted(completed(study), key=lambda trial: trial.number)
    values = [trial.value or 0.0 for trial in trials]
    best = [max(values[: count + 1]) for count in range(len(values))]
    left.plot([trial.number for trial in trials], values, "o", label="trial")
    left.step([trial.number for trial in trials], best, where="post", label="best so far")
    given_up = [trial for trial in finished(study) if trial.state == TrialState.PRUNED and trial.intermediate_values]
    told = [trial.intermediate_values[max(trial.intermediate_values)] for trial in given_up]
    left.plot([trial.number for trial in given_up], told, "x", color="0.6", label="given up, score until then")
    left.set(xlabel="trial", ylabel="score")
    figure.suptitle(title)
    left.legend(loc="lower right")
    shares = importances(study)
    right.barh(list(shares)[::-1], list(shares.values())[::-1])
    right.set(title="importance", xlabel="share")
    figure.savefig(path, dpi=100)


def print_table(study: Study) -> None:
    """The best trials, with the settings that were varied."""
    table = Table("trial", "score", "best evaluations", "settings", title=f"{len(finished(study))} trials")
    for trial in completed(study)[:_SHOWN]:
        returns = ", ".join(f"{value:.1f}" for value in trial.user_attrs["final_returns"])
        table.add_row(str(trial.number), f"{trial.value:.2f}", returns, _settings(trial.params))
    console = Console()
    console.print(table)
    shares = importances(study)
    if shares:
        console.print("importance: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))


def _settings(parameters: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in parameters.items()
    )
