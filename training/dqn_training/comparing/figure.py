"""The picture: a learning curve for each group, its interval as a shade."""

import io
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dqn_training.comparing.curves import Band
from dqn_training.comparing.groups import Group


def comparison_png(groups: Sequence[Group], bands: Sequence[Band], metric: str, threshold: float | None) -> bytes:
    """The picture as PNG."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for number, (group, band) in enumerate(zip(groups, bands, strict=True)):
        color = f"C{number % 10}"
        runs = f"{len(group.curves)} run{'s' * (len(group.curves) > 1)}"
        axes.plot(band.steps, band.middle, color=color, label=f"{group.label} ({runs})")
        axes.fill_between(band.steps, band.low, band.high, color=color, alpha=0.2, lw=0)
    if threshold is not None:
        axes.axhline(threshold, color="0.5", ls="--", lw=1)
    axes.set(xlabel="environment steps", ylabel=metric.replace("_", " "))
    axes.legend(loc="best")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
