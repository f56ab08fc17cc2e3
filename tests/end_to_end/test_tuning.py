"""`dqn-tune` as users type it."""

import signal
from pathlib import Path
from typing import Any

import optuna
import pytest

from dqn_testing.commands import result, run, run_here, start
from dqn_training.presets import read_preset

SMALL = ["--env-id", "tests.training.environments:Countdown-v0", "--total-env-steps", 400, "--learning-starts", 100]
SMALL += ["--hidden-sizes", 8, "--seeds", 1, "--evaluations", 2, "--episodes", 2]
SMALL += ["--finalists", 2, "--confirm-seeds", 2]

pytestmark = pytest.mark.slow


def tune(folder: Path, trials: int, *flags: object) -> Any:
    """The result of a small search."""
    return result("dqn-tune", *SMALL, "--storage", folder / "study.db", "--trials", trials, *flags)


def test_a_search_continues_and_writes_a_preset(tmp_path: Path) -> None:
    """An interrupted search keeps its trials; the same command completes it and finds a better preset."""
    process = start("dqn-tune", *SMALL, "--storage", tmp_path / "study.db", "--trials", 1_000, "--jobs", 2)
    assert process.stderr is not None
    for line in process.stderr:
        if "trial 1:" in line:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The same command resumes the search" in errors
    kept = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path}/study.db").trials
    assert optuna.trial.TrialState.RUNNING not in {trial.state for trial in kept}
    reached = sum(trial.state.is_finished() and trial.state.name != "FAIL" for trial in kept)
    found = tune(tmp_path, reached + 3)
    assert found["trials"] == reached + 3
    assert found["score"] >= found["default_score"]
    assert (tmp_path / "tuning.png").read_bytes().startswith(b"\x89PNG")
    preset = read_preset(tmp_path / "preset.toml")
    assert preset.env_id == SMALL[1]
    confirmed = {name: sum(scores) for name, scores in found["confirmed"].items()}
    assert len(confirmed) == 3
    assert all(len(scores) == 2 for scores in found["confirmed"].values())
    best = max(confirmed, key=lambda name: confirmed[name])
    assert f"settings of {best}." in (tmp_path / "preset.toml").read_text()
    text = (tmp_path / "preset.toml").read_text()
    assert text.startswith("# Found by: dqn-tune --env-id tests.training")
    assert "eval_every" not in text
    again = run("dqn-tune", *SMALL, "--storage", tmp_path / "study.db", "--trials", reached + 3)
    assert "score" not in again.stderr  # everything is done already
    assert "confirmed with seeds 101 to 102" in again.stdout
    manifest = result(
        "dqn-train", "--preset", tmp_path / "preset.toml", "--repository", tmp_path / "store", "--name", "countdown"
    )
    assert manifest["training"]["preset"] == "preset.toml"
    assert manifest["training"]["config"]["learning_rate"] == preset.learning_rate
    other = run_here("dqn-tune", *SMALL, "--storage", tmp_path / "study.db", "--gamma", 0.5)
    assert other.returncode == 2
    assert "holds a search with gamma 0.99, not 0.5" in other.stderr


def test_two_searches_started_together_share_a_study(tmp_path: Path) -> None:
    """Two searches on one study both exit with 0, and no trial is lost or started with other settings."""
    words = [*SMALL, "--storage", tmp_path / "study.db", "--trials", 4, "--finalists", 0]
    for process in [start("dqn-tune", *words) for _ in range(2)]:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    trials = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path}/study.db").trials
    assert sum(trial.state.is_finished() for trial in trials) >= 4
    assert len([trial for trial in trials if trial.params == trials[0].params]) == 1, "the preset is tried once"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--trials", 0], "--trials is 0; it must be at least 1."),
        (["--first-seed", 7], "--first-seed is 7; it must be at least 100."),
        (["--timeout", "soon"], "--timeout is 'soon'; expected a number with s, m, h or d"),
        (["--env-id", "Nope-v1"], "env_id is 'Nope-v1'"),
    ],
)
def test_wrong_usage_of_tune(tmp_path: Path, flags: list[object], sentence: str) -> None:
    """Wrong usage ends the command with status 2 before it creates a study."""
    done = run_here("dqn-tune", "--storage", tmp_path / "study.db", *flags)
    assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    assert not list(tmp_path.iterdir())
