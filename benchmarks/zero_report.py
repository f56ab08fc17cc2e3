"""The report of benchmarks/zero_config.py: interquartile means over all environments, each environment, CPU seconds."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import documents
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from zero_tasks import CHOSEN_ON, SOURCE, TASKS, ZOO

from dqn_testing.intervals import interquartile_interval

mpl.use("Agg")
from matplotlib import pyplot as plt

Lines = Sequence[dict[str, Any]]

LABELS = {
    "ours": "dqn-train, no flags",
    "sb3": "Stable-Baselines3, defaults",
    "zoo": "Stable-Baselines3, RL Zoo's settings",
    "sbx": "SBX, defaults",
    "cleanrl": "CleanRL dqn.py, defaults",
}

_CPU_GOAL = 0.8
_NOISE = 2.0  # standard errors
_LEAST = 0.01
_UNFINISHED = (
    " **Unfinished**: not every system has five seeds in every environment yet; the tables say how many runs there are."
)
_PAGE = """# No flags, compared with the defaults of others

`.venv/bin/python benchmarks/zero_config.py` trains in {count} environments with `dqn-train --env-id ID
--total-env-steps N` and with the DQN of Stable-Baselines3, SBX and CleanRL with their defaults, for the same number of
environment steps; where [RL Zoo]({source}) has settings ({zoo}), Stable-Baselines3 also trains with these.

- **Protocol**: the final policy plays 100 greedy episodes of at most 1,000 steps, with the same seeds for all systems.
  dqn-train publishes the best policy by its own evaluations, whose steps the second table does not count.
- **Scores**: 0 is a random policy, or an idle one if its return is higher (Taxi, CliffWalking); 1 is the reference in
  the second table. Scores may lie outside this range. Means over all environments are interquartile means with 95 %
  intervals from a bootstrap stratified by environment (Agarwal et al., 2021). Each peer is compared with dqn-train in
  the environments that it supports.
- **CPU seconds** are those of the whole process from its start to the trained policy; dqn-train's include its
  evaluations, the final evaluation and the export.{contended}
- Seeds: {seeds}.{unfinished} The rules of the preset `general` were chosen with seeds from 100 on, in other
  environments: {chosen}. See [the evidence for each](ablation.md#what-general-chooses).
- **{own}** have their own presets, which dqn-train uses by default. These were tuned on these very environments, as RL
  Zoo's settings were; the second row of each system in the first table leaves them out.
- SBX and CleanRL only accept vectors of floats; they get the flattened observation, with Discrete spaces one-hot.
  CleanRL needs Gymnasium 0.29, with its Taxi-v3, LunarLander-v2 and CliffWalking-v0.

![scores](zero_config.png)

{overall}

{behind}

{expensive}

Mean return, its standard deviation over seeds, (their number), and the median of the CPU seconds:

{each}

{machine}
"""


def write(report: Path, lines: Lines) -> None:
    """Writes the page and its plot from the existing runs; nothing without a run of dqn-train."""
    runs = [line for line in lines if "mean" in line and line["environment"] in TASKS]
    if not any(line["system"] == "ours" for line in runs):
        return
    contended = (
        " Other work on the machine has inflated them, and not equally: the same run took up to a quarter more when it "
        "was busier. Scores are not affected."
    )
    seeds = sorted({line["seed"] for line in runs if line["system"] == "ours"})
    report.write_text(
        _PAGE.format(
            count=len({line["environment"] for line in runs}),
            source=SOURCE,
            zoo=", ".join(ZOO),
            contended=contended if any(line["contended"] for line in runs) else "",
            seeds=", ".join(map(str, seeds)),
            unfinished="" if _is_finished(runs) else _UNFINISHED,
            chosen=", ".join(CHOSEN_ON),
            own=", ".join(_own_presets(runs)),
            overall=_overall(runs),
            behind=_behind(runs),
            expensive=_expensive(runs),
            each=_each(runs, lines),
            machine=documents.machine({name: version(name) for name in ("torch", "numpy", "gymnasium")}),
        ),
        encoding="utf-8",
    )
    _draw(runs, report.with_suffix(".png"))


def _is_finished(runs: Lines) -> bool:
    """Whether every system with runs has five seeds in each environment of dqn-train."""
    systems = {line["system"] for line in runs} - {"random", "zoo"}
    ours = {line["environment"] for line in runs if line["system"] == "ours"}
    return len(ours) == len(TASKS) and all(len(_of(runs, system, name)) >= 5 for system in systems for name in ours)


def _of(lines: Lines, system: str, environment: str) -> list[dict[str, Any]]:
    return [line for line in lines if (line["system"], line["environment"]) == (system, environment)]


def _scores(runs: Lines, system: str, environment: str) -> NDArray[np.float64]:
    task = TASKS[environment]
    means = np.array([line["mean"] for line in _of(runs, system, environment)], np.float64)
    return (means - task.zero) / (task.reference - task.zero)


def _common(runs: Lines, system: str) -> list[str]:
    """The environments in which both this system and dqn-train have runs."""
    return [name for name in TASKS if _of(runs, system, name) and _of(runs, "ours", name)]


def _own_presets(runs: Lines) -> list[str]:
    """The environments in which dqn-train used a preset other than `general`."""
    return [name for name in TASKS if any(line["preset"] != "general" for line in _of(runs, "ours", name))]


def _interval(runs: Lines, system: str, names: Sequence[str]) -> tuple[float, float, float]:
    return interquartile_interval([_scores(runs, system, name) for name in names])


def _cpu(runs: Lines, system: str, name: str) -> float:
    return float(median(line["cpu_seconds"] for line in _of(runs, system, name)))


def _overall(runs: Lines) -> str:
    """Rows for each system compared with dqn-train: in all common environments, and in those with preset `general`."""
    columns = ("system", "score", "dqn-train there", "dqn-train's CPU seconds to its: median (worst)")
    own, rows = _own_presets(runs), []
    for system, label in LABELS.items():
        every = _common(runs, system)
        general = [name for name in every if name not in own]
        for names, more in ((every, ""), (general, ", preset `general` alone")):
            if names and not (more and len(general) == len(every)):
                rows.append([label + more, *_compared(runs, system, names)])
    return documents.table((*columns, "environments", "runs"), rows)


def _compared(runs: Lines, system: str, names: Sequence[str]) -> list[str]:
    """The cells of a system and of dqn-train over these environments."""
    intervals = (_interval(runs, each, names) for each in (system, "ours"))
    ratios = [_cpu(runs, "ours", name) / _cpu(runs, system, name) for name in names]
    count = sum(len(_of(runs, system, name)) for name in names)
    cells = [f"{mean:.2f} ({low:.2f} to {high:.2f})" for mean, low, high in intervals]
    return [*cells, f"{median(ratios):.2f} ({max(ratios):.2f})", str(len(names)), str(count)]


def _behind(runs: Lines) -> str:
    """Where a peer's mean score is significantly higher, given the noise over seeds."""
    found, single = [], []
    for system in list(LABELS)[1:]:
        for name in _common(runs, system):
            both = [_scores(runs, each, name) for each in (system, "ours")]
            ahead = float(both[0].mean() - both[1].mean())
            if min(map(len, both)) < 2:
                single += [f"{LABELS[system]} in {name} (by {ahead:.2f})"] if ahead > _LEAST else []
                continue
            noise = _NOISE * float(np.hypot(*(np.std(scores, ddof=1) / len(scores) ** 0.5 for scores in both)))
            if ahead > max(noise, _LEAST):
                found.append(f"{LABELS[system]} in {name} (by {ahead:.2f}, noise {noise:.2f})")
    return (
        "**Ahead of dqn-train beyond the noise** (two standard errors of the difference of mean scores, and 0.01), "
        f"where both have at least two seeds: {'; '.join(found) or 'none'}. "
        f"With a single seed, so that the noise is unknown: {'; '.join(single) or 'none'}."
    )


def _expensive(runs: Lines) -> str:
    """Where the goal of 0.8 of Stable-Baselines3's CPU seconds is missed."""
    names = _common(runs, "sb3")
    ratios = {name: _cpu(runs, "ours", name) / _cpu(runs, "sb3", name) for name in names}
    expensive = [f"{name} ({ratio:.2f})" for name, ratio in ratios.items() if ratio > _CPU_GOAL]
    return (
        f"**CPU seconds above {_CPU_GOAL} times those of Stable-Baselines3**: {', '.join(expensive) or 'nowhere'} "
        f"({len(names) - len(expensive)} of {len(names)} environments are below)."
    )


def _each(runs: Lines, lines: Lines) -> str:
    """A row for each environment: mean return with the standard deviation over seeds, their number, and CPU seconds."""
    rows = []
    for name, task in TASKS.items():
        scale = f"{task.zero:g} to {task.reference:g} ({task.known_from})"
        cells = []
        for system in LABELS:
            found = [line["mean"] for line in _of(runs, system, name)]
            failed = any("error" in line for line in _of(lines, system, name))
            spread = f" ± {np.std(found, ddof=1):.3g}" if len(found) > 1 else ""
            text = f"{np.mean(found):.3g}{spread} ({len(found)}); {_cpu(runs, system, name):.0f} s" if found else ""
            cells.append(text or ("failed" if failed else "-"))
        presets = ", ".join(sorted({line["preset"] for line in _of(runs, "ours", name)}))
        ratio = f"{_cpu(runs, 'ours', name) / _cpu(runs, 'sb3', name):.2f}" if name in _common(runs, "sb3") else "-"
        shown = task.env_id.partition(":")[2] or task.env_id
        rows.append([shown, f"{task.steps:,}", scale, presets or "-", *cells, ratio])
    columns = ("environment", "steps", "score 0 to 1", "preset", *LABELS.values(), "CPU to Stable-Baselines3's")
    return documents.table(columns, rows)


def _draw(runs: Lines, path: Path) -> None:
    """Plots interquartile means over all environments, and the mean score in each."""
    systems = [system for system in LABELS if _common(runs, system)]
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained", width_ratios=(1, 2))
    for place, system in enumerate(systems):
        mean, low, high = _interval(runs, system, _common(runs, system))
        left.plot([low, high], [place, place], color=f"C{place}", linewidth=6, alpha=0.35, solid_capstyle="butt")
        left.plot([mean], [place], "o", color=f"C{place}")
        names = _common(runs, system)
        places = [list(TASKS).index(name) for name in names]
        scores = [float(np.clip(_scores(runs, system, name).mean(), -0.5, 1.5)) for name in names]
        right.plot(places, scores, "o", color=f"C{place}", label=LABELS[system], alpha=0.8)
    left.set_yticks(range(len(systems)), [LABELS[system] for system in systems])
    left.invert_yaxis()
    left.set_xlabel("interquartile mean of scores, 95 % interval (0 random, 1 reference)")
    right.set_xticks(range(len(TASKS)), list(TASKS), rotation=40, ha="right", fontsize=8)
    right.set_ylabel("mean score (clipped to [-0.5, 1.5])")
    right.legend(fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
