"""What is written down of a run: named numbers, in rows. To add one is to add a line to SCALARS."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # who reads rows needs no torch
    from dqn_training.learning.state import TrainingState

Row = dict[str, float | None]
"""A number for each name of SCALARS; None where there is none yet."""


class Moment(NamedTuple):
    """When a row is written."""

    state: "TrainingState"
    previous: Row | None  # the row before


def _new_evaluation(moment: Moment) -> float | None:
    """The mean return of an evaluation since the row before."""
    scores = moment.state.selection.scores
    seen = (moment.previous or {}).get("evaluations") or 0
    return scores[-1].mean if len(scores) > seen else None


def _health(moment: Moment, indicator: str) -> float | None:
    """What the collapse monitor saw last."""
    history = moment.state.monitor.history
    return float(getattr(history[-1], indicator)) if history else None


def _steps_per_second(moment: Moment) -> float | None:
    """Environment steps a second since the row before, evaluations included."""
    previous = moment.previous or {}
    steps = moment.state.env_steps - (previous.get("env_steps") or 0)
    seconds = moment.state.wall_seconds - (previous.get("wall_seconds") or 0.0)
    return round(steps / seconds, 1) if seconds > 0 else None


SCALARS: dict[str, Callable[[Moment], float | None]] = {
    "env_steps": lambda moment: moment.state.env_steps,
    "gradient_steps": lambda moment: moment.state.agent.gradient_steps,
    "episodes": lambda moment: len(moment.state.episodes),
    "evaluations": lambda moment: len(moment.state.selection.scores),
    "evaluation_return": _new_evaluation,
    "training_return": lambda moment: moment.state.recent("total_reward"),
    "episode_length": lambda moment: moment.state.recent("length"),
    "loss": lambda moment: None if moment.state.loss is None else float(moment.state.loss),
    "epsilon": lambda moment: moment.state.epsilon,
    "learning_rate": lambda moment: moment.state.agent.optimizer.learning_rate,
    "terminal_share": lambda moment: _health(moment, "terminal_share"),
    "action_gap": lambda moment: _health(moment, "action_gap"),
    "largest_q": lambda moment: _health(moment, "largest_q"),
    "dormant_share": lambda moment: _health(moment, "dormant_share"),
    "wall_seconds": lambda moment: round(moment.state.wall_seconds, 3),
    "steps_per_second": _steps_per_second,
}


def row(moment: Moment) -> Row:
    """All scalars; what is not finite is None."""
    values = {name: scalar(moment) for name, scalar in SCALARS.items()}
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}
