"""`dqn-compare`: groups, estimates and intervals of runs whose metrics are known."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from dqn_testing.commands import result, run_here
from dqn_training.tracking.metrics_csv import SCALARS, MetricsFile


def make_run(path: Path, values: Sequence[float], seed: int = 0, gamma: float = 0.9, every: int = 100) -> Path:
    """A run's directory with an evaluation every `every` steps, and rows without one in between."""
    path.mkdir(parents=True)
    file = MetricsFile(path / "metrics.csv")
    file.begin(0, 0)
    for number, value in enumerate(values):
        for steps, evaluation in (((number + 0.5) * every, None), ((number + 1) * every, value)):
            row = {"env_steps": steps, "evaluations": number, "evaluation_return": evaluation}
            file.append(dict.fromkeys(SCALARS) | row)
    file.close()
    described = {"name": "m", "preset": "p", "config": {"seed": seed, "gamma": gamma}, "repository": "s", "gate": "g"}
    (path / "run.json").write_text(json.dumps(described | {"command": [], "libraries": {}, "started_at": ""}))
    return path


def test_groups_estimates_and_intervals(tmp_path: Path) -> None:
    """Equal settings form a group; the interquartile mean ignores outliers; a run without success counts as never."""
    for seed, last in enumerate([0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 1000.0]):
        make_run(tmp_path / f"a{seed}", [0.0, last, last], seed)
    make_run(tmp_path / "b", [0.0, 5.0], gamma=0.8)
    flags = ["--threshold", 25, "--statistic", "iqm", "--out", tmp_path / "c.png"]
    found = result("dqn-compare", *sorted(tmp_path.iterdir()), *flags)
    many, one = found["groups"]
    assert (many["label"], many["runs"]) == ("m, p gamma=0.9", 8)
    assert many["final"]["value"] == pytest.approx((20 + 30 + 40 + 50) / 4)
    assert 0 < many["final"]["low"] < 35 < many["final"]["high"] < 1000
    assert many["area"]["value"] == pytest.approx(0.75 * 35, rel=0.01)  # a ramp over half of the steps
    assert (many["reached"], many["steps_to_threshold"]["value"]) == (5, 200)
    assert many["steps_to_threshold"]["high"] is None  # never, in some resamples
    assert (one["label"], one["runs"]) == ("m, p gamma=0.8", 1)
    assert one["final"] == {"value": 5.0, "low": None, "high": None}  # it ended early and keeps its value
    assert one["reached"] == 0
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_labels_make_groups(tmp_path: Path) -> None:
    """LABEL=PATTERN groups whatever the pattern finds, directories with an equals sign included."""
    make_run(tmp_path / "a=1", [1.0])
    make_run(tmp_path / "a=2", [3.0], gamma=0.8)
    found = result("dqn-compare", f"both={tmp_path}/a*", tmp_path / "a=1", "--out", tmp_path / "c.png")
    assert [(group["label"], group["runs"]) for group in found["groups"]] == [("both", 2), ("m, p", 1)]
    assert found["groups"][0]["final"]["value"] == 2.0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Give the directories of the runs to compare"),
        (["{folder}/nowhere"], "There is no {folder}/nowhere"),
        (["{folder}/empty"], "There is no {folder}/empty/metrics.csv."),
        (["{folder}/a", "--metric", "lost"], "{folder}/a has no column lost; it has env_steps,"),
        (["{folder}/a", "--metric", "loss"], "{folder}/a has no loss yet."),
        (["{folder}/a", "--out", "c.pdf"], "--out is c.pdf; the plot is a PNG"),
        (["{folder}/a", "--out", "/nowhere/c.png"], "the directory /nowhere does not exist"),
    ],
)
def test_wrong_usage_of_compare(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    """The command ends with status 2 and names what is missing."""
    make_run(tmp_path / "a", [1.0])
    (tmp_path / "empty").mkdir()
    done = run_here("dqn-compare", *(argument.format(folder=tmp_path) for argument in arguments))
    assert (done.returncode, sentence.format(folder=tmp_path) in done.stderr) == (2, True), done.stderr
