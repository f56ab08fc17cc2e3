"""`dqn-compare`: learning curves of several runs."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from dqn_models import cli_support
from dqn_training.cli.flags import Flag, parse
from dqn_training.cli.running import wrong_usage

if TYPE_CHECKING:
    from dqn_training.comparing.curves import Estimate, Summary


@dataclasses.dataclass(frozen=True)
class CompareOptions:
    """Compare runs by their metrics.csv: a picture of the learning curves and a table, with 95 % intervals.

    Runs that differ only in their seed are a group; `dqn-compare 'small=runs/a-*' 'large=runs/b-*'` groups by hand.
    """

    runs: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[LABEL=]DIR ...")]
    """Directories of runs, with or without wildcards and a label for the group."""
    metric: str = "evaluation_return"
    """Column of metrics.csv to compare."""
    statistic: Literal["mean", "iqm"] = "mean"
    """Of a group's runs: the mean, or the mean of the middle half (iqm)."""
    threshold: float | None = None
    """Value whose first reaching is timed."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE.png")] = Path("comparison.png")
    """Where the picture goes."""
    json: Flag = False
    """Print the table as one JSON line on standard output."""


def compare_options(args: Sequence[str]) -> CompareOptions:
    """Reads the flags of `dqn-compare`."""
    options = parse(CompareOptions, "dqn-compare", args, None)
    if not options.runs:
        raise cli_support.UsageError("Name the directories of the runs to compare, such as dqn-compare runs/*.")
    if options.out.suffix.lower() != ".png":
        raise cli_support.UsageError(
            f"--out is {options.out}; the picture is a PNG, so that its name must end in .png."
        )
    if not options.out.parent.is_dir():
        raise cli_support.UsageError(f"--out is {options.out}, but there is no directory {options.out.parent}.")
    return options


def run_compare(options: CompareOptions) -> None:
    """Reads the runs, draws and prints."""
    from dqn_training.comparing.curves import band, steps_axis, summary  # noqa: PLC0415
    from dqn_training.comparing.figure import comparison_png  # noqa: PLC0415
    from dqn_training.comparing.groups import find_groups  # noqa: PLC0415

    with wrong_usage():
        groups = find_groups(options.runs, options.metric)
    steps = steps_axis(groups)
    bands = [band(group, steps, options.statistic) for group in groups]
    lines = [summary(group, steps, options.statistic, options.threshold) for group in groups]
    options.out.write_bytes(comparison_png(groups, bands, options.metric, options.threshold))
    if options.json:
        cli_support.print_json(
            {"metric": options.metric, "plot": str(options.out), "groups": [x.as_json() for x in lines]}
        )
    else:
        _print_table(lines, options)


def _print_table(lines: "Sequence[Summary]", options: CompareOptions) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Column, Table  # noqa: PLC0415

    columns = ["runs", "", f"final {options.metric}", f"{options.statistic} over the steps"]
    if options.threshold is not None:
        columns.append(f"median steps to {options.threshold:g}")
    table = Table(*(Column(name, overflow="fold") for name in columns))
    for line in lines:
        cells = [str(line.runs), line.label, _shown(line.final), _shown(line.area)]
        if line.steps_to_threshold is not None:
            cells.append(f"{_shown(line.steps_to_threshold, 'never')}, reached by {line.reached}")
        table.add_row(*cells)
    Console().print(table)
    print(f"picture  {options.out}")


def _shown(estimate: "Estimate", infinite: str = "-") -> str:
    """A number with its interval."""
    value, low, high = (infinite if number is None else f"{number:,.1f}" for number in estimate)
    return value if estimate.low is None else f"{value} ({low} to {high})"
