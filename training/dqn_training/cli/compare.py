"""`dqn-compare`: learning curves of several runs."""

import dataclasses
from collections.abc import Sequence

import rich
from rich.table import Column, Table

from dqn_models import cli_support
from dqn_training.cli.options import CompareOptions
from dqn_training.cli.running import wrong_usage
from dqn_training.comparing.curves import Estimate, Summary, draw_comparison, steps_axis, summary
from dqn_training.comparing.groups import find_groups


def run(options: CompareOptions) -> None:
    """Reads the runs, writes the plot and prints the table."""
    with wrong_usage():
        groups = find_groups(options.runs, options.metric)
    steps = steps_axis(groups)
    lines = [summary(group, steps, options.statistic, options.threshold) for group in groups]
    draw_comparison(options.out, groups, options.statistic, options.metric, options.threshold)
    if options.json:
        cli_support.print_json(
            {"metric": options.metric, "plot": str(options.out), "groups": [dataclasses.asdict(x) for x in lines]}
        )
    else:
        _print_table(lines, options)


def _print_table(lines: Sequence[Summary], options: CompareOptions) -> None:
    columns = ["runs", "", f"final {options.metric}", f"{options.statistic} over all steps"]
    if options.threshold is not None:
        columns.append(f"median steps to {options.threshold:g}")
    table = Table(*(Column(name, overflow="fold") for name in columns))
    for line in lines:
        cells = [str(line.runs), line.label, _shown(line.final), _shown(line.area)]
        if line.steps_to_threshold is not None:
            cells.append(f"{_shown(line.steps_to_threshold, 'never')}, reached by {line.reached}")
        table.add_row(*cells)
    rich.print(table)
    print(f"plot  {options.out}")


def _shown(estimate: Estimate, infinite: str = "-") -> str:
    """A number with its interval."""
    value, low, high = (infinite if number is None else f"{number:,.1f}" for number in dataclasses.astuple(estimate))
    return value if estimate.low is None else f"{value} ({low} to {high})"
