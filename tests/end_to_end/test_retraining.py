"""`dqn-retrain` as a user or cron starts it, on an environment that really drifts."""

import contextlib
import json
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.commands import QUICK, free_port, result, run, run_here, start
from dqn_testing.server import running_server, wait_until
from dqn_testing.trained import Trained
from dqn_training.tracking.metrics_csv import read_metrics

pytestmark = pytest.mark.slow

PLANT = ["--env-id", "examples.tunable_cartpole:TunableCartPole-v0", "--name", "plant"]
LONGER_POLE = '{"pole_length": 2.5}'
EPISODES = ["--episodes=60"]
BRIEF = ["--stop-evaluations=1", "--total-env-steps=60000", "--eval-episodes=10", "--report-episodes=60"]
BRIEF += ["--gate-episodes=60", "--eval-fraction=1"]  # evaluated often, so that it ends as soon as it is good enough
ROUND = ["--total-env-steps=1200", "--learning-starts=200", "--eval-every=600", "--eval-episodes=5"]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, trained: Trained) -> Path:
    """A repository with a quickly trained champion, for all tests here."""
    return trained.copy(tmp_path_factory.mktemp("quick"))


def test_drift_leads_to_a_better_champion_that_a_running_server_serves(tmp_path: Path) -> None:
    """When the pole becomes five times as long, the champion gets worse, and the round's better version is served."""
    at = ["--repository", tmp_path]
    flags = ["--seed=3", "--stop-return=480", *BRIEF]
    result("dqn-train", *at, *PLANT, *flags)
    before = result("dqn-evaluate", "plant", *at, *EPISODES)
    drifted = result("dqn-evaluate", "plant", *at, *EPISODES, "--env-kwargs", LONGER_POLE)
    assert drifted["ci95"][1] < 0.8 * before["mean"]
    with running_server(tmp_path, model="plant") as server:
        server.wait_ready()
        flags = ["--env-kwargs", LONGER_POLE, "--stop-return=420", *BRIEF]
        outcome = result("dqn-retrain", "--once", "--name", "plant", *at, *flags)
        assert (outcome["decision"], outcome["challenger_version"], outcome["champion_version"]) == ("promoted", 2, 1)
        assert outcome["statistics"]["difference_low"] > 0
        body = {"observation": [0.0, 0.0, 0.05, 0.0]}
        wait_until(lambda: server.post("/act", body).json()["version"] == 2, 5, "serving version 2")
    after = result("dqn-evaluate", "plant", *at, *EPISODES, "--env-kwargs", LONGER_POLE)
    assert after["ci95"][0] > drifted["ci95"][1]
    manifest = ModelRepository(tmp_path).manifest("plant", 2)
    assert (manifest.lineage.origin, manifest.lineage.parent_version) == ("warm-start", 1)
    assert manifest.environment.kwargs == {"pole_length": 2.5}


def test_a_crippled_challenger_is_published_but_not_promoted(tmp_path: Path) -> None:
    """A barely trained challenger loses to a good champion; its manifest and the history say why."""
    at = ["--repository", tmp_path]
    result("dqn-train", *at, "--stop-return=300", "--stop-evaluations=1", "--report-episodes=50")
    outcome = result("dqn-retrain", "--once", *at, "--start=scratch", *ROUND, "--learning-rate=1e-7")
    assert (outcome["decision"], outcome["challenger_version"]) == ("kept", 2)
    assert outcome["statistics"]["difference_low"] < outcome["statistics"]["threshold"]
    repository = ModelRepository(tmp_path)
    assert repository.alias("cartpole") == 1
    gate = repository.verify("cartpole", 2).gate
    assert gate is not None
    assert (gate.decision, gate.reason) == ("kept", outcome["reason"])
    last = repository.history("cartpole")[-1]
    assert (last["event"], last["version"]) == ("publish", 2)
    assert last["gate"] is not None
    assert last["gate"]["statistics"] == outcome["statistics"]


def test_both_starts_make_one_challenger(quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--start both` trains twice and publishes the better; both runs are finished, with the round's result."""
    monkeypatch.setenv("DQN_RUNS", str(tmp_path))
    outcome = result("dqn-retrain", "--once", "--repository", quick, "--start=both", *ROUND)
    manifest = ModelRepository(quick).manifest("cartpole", outcome["challenger_version"])
    parent = outcome["champion_version"] if manifest.lineage.origin == "warm-start" else None
    assert manifest.lineage.parent_version == parent
    runs = sorted(tmp_path.iterdir())
    results = [json.loads((run / "result.json").read_text()) for run in runs]
    assert [each["version"] for each in results] == [manifest.version] * 2
    assert manifest.training.run in {json.loads((run / "run.json").read_text())["id"] for run in runs}
    assert not list(tmp_path.glob("*/checkpoint*"))


def test_a_first_round_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the environment fails in the first round of a model, the repository is unchanged."""
    monkeypatch.setenv("DQN_RUNS", str(tmp_path / "runs"))
    faulty = ["--env-id=tests.training.environments:Faulty-v0", '--env-kwargs={"fault": "exception"}']
    done = run_here("dqn-retrain", "--once", "--repository", tmp_path / "store", *faulty)
    assert (done.returncode, "the arm is stuck" in done.stderr) == (1, True), done.stderr
    assert not list((tmp_path / "store").iterdir())


@pytest.mark.parametrize("interval", [["--once"], ["--every=1h", "--metrics-port=0"]])
def test_a_round_passes_on_the_warnings_of_its_run(quick: Path, interval: list[str]) -> None:
    """For example, that checkpoints lack the state of environments in other processes."""
    words = ["--repository", quick, *ROUND, "--vectorization=async", "--num-envs=2", "--json"]
    process = start("dqn-retrain", *interval, *words)
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "Checkpoints cannot include the state of these environments: they run in separate processes" in errors


def test_the_first_round_of_a_model_trains_its_first_champion(tmp_path: Path) -> None:
    """Without a champion a round trains from scratch and promotes at once."""
    outcome = result("dqn-retrain", "--once", "--repository", tmp_path, *QUICK)
    assert (outcome["decision"], outcome["champion_version"], outcome["statistics"]) == ("promoted", None, {})
    assert ModelRepository(tmp_path).alias("cartpole") == 1


@pytest.mark.parametrize("interval", [["--once"], ["--every", "1h", "--metrics-port", "0"]])
def test_a_model_that_does_not_exist_is_not_trained_by_mistake(quick: Path, interval: list[str]) -> None:
    """An unknown name without a flag that says what to train a first version for is wrong usage."""
    before = sorted(quick.rglob("*"))
    done = run_here("dqn-retrain", *interval, "--repository", quick, "--name", "cartpoel")
    assert done.returncode == 2
    assert f"{quick} has no champion of cartpoel. To train a first version, give --env-id or" in done.stderr
    assert sorted(quick.rglob("*")) == before


def test_a_round_is_a_run_to_inspect_and_resume(
    tmp_path: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed round has settings, metrics and a checkpoint; `dqn-train --resume` completes it as a warm start."""
    monkeypatch.setenv("DQN_RUNS", str(tmp_path / "runs"))
    store = trained.copy(tmp_path / "store")
    process = start("dqn-retrain", "--once", "--repository", store, "--total-env-steps=30000", "--stop-return=1e9")
    assert process.stderr is not None
    assert any("evaluation return" in line for line in process.stderr)
    process.kill()
    process.communicate()
    (directory,) = (tmp_path / "runs").iterdir()
    assert len(read_metrics(directory / "metrics.csv")["env_steps"]) > 0
    manifest = result("dqn-train", "--resume", directory)
    assert manifest["training"]["run"] == json.loads((directory / "run.json").read_text())["id"]
    assert manifest["lineage"] == {"origin": "warm-start", "parent_version": 1}
    assert (manifest["version"], manifest["gate"]["champion_version"]) == (2, 1)


def test_one_job_at_a_time_and_a_killed_one_leaves_no_lock(quick: Path) -> None:
    """A second job is refused with a sentence while one runs; after a SIGKILL the next one starts."""
    process = start("dqn-retrain", "--once", "--repository", quick, "--total-env-steps=1000000")
    assert process.stderr is not None
    assert any("evaluation return" in line for line in process.stderr)
    refused = run("dqn-retrain", "--once", "--repository", quick, *ROUND)
    assert refused.returncode == 1
    assert "another retrain job is running" in refused.stderr
    process.kill()
    process.communicate()
    assert run("dqn-retrain", "--once", "--repository", quick, *ROUND).returncode == 0


def test_the_loop_survives_failed_rounds_and_counts_them(tmp_path: Path, trained: Trained) -> None:
    """Rounds fail while the champion's file is damaged and succeed once it is restored, as the metrics show."""
    trained.copy(tmp_path)
    weights = tmp_path / "cartpole" / "1" / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    port = free_port()
    flags = ["--every=1s", f"--metrics-port={port}", "--json", *ROUND]
    process = start("dqn-retrain", "--repository", tmp_path, *flags)

    def runs(outcome: str) -> float:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        name = f'dqn_retrain_runs_total{{model="cartpole",outcome="{outcome}"}}'
        return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    def answers() -> bool:
        try:
            return runs("failed") >= 1
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, 30, "a failed round")
        weights.write_bytes(whole)
        wait_until(lambda: runs("promoted") + runs("kept") >= 2, 60, "two rounds that did not fail")
    finally:
        process.terminate()
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert "differs from what was published" in errors
    assert len(output.splitlines()) >= 2
    assert "Traceback" not in errors


def test_each_round_takes_the_settings_of_the_champion_of_that_moment(tmp_path: Path, trained: Trained) -> None:
    """After a version with another network is promoted by hand, later rounds train that network."""
    repository = ModelRepository(trained.copy(tmp_path))
    result("dqn-train", "--repository", tmp_path, *QUICK[:-1], "16")
    repository.promote("cartpole", 1)
    never = ["--gate=superior", "--learning-rate=1e-9", "--gate-episodes=20", "--metrics-port=0", "--json"]
    process = start("dqn-retrain", "--every=0.1s", "--repository", tmp_path, *ROUND, *never)
    assert process.stdout is not None
    try:
        first = json.loads(process.stdout.readline())
        repository.promote("cartpole", 2)
        rounds = (json.loads(line) for line in process.stdout)
        later = next(each for each in rounds if each["champion_version"] == 2)
    finally:
        process.terminate()
        process.communicate(timeout=20)
    sizes = {
        version: repository.manifest("cartpole", version).training.config["hidden_sizes"]
        for version in (first["challenger_version"], later["challenger_version"])
    }
    assert list(sizes.values()) == [[32], [16]]


@pytest.mark.parametrize("instants", [4, pytest.param(32, marks=pytest.mark.long)])
def test_sigterm_at_any_point_of_a_round_ends_the_loop_cleanly(quick: Path, instants: int) -> None:
    """Stopped at any instant of importing, training, gating or publishing, it exits with 0 and damages nothing."""
    began = time.monotonic()
    run("dqn-retrain", "--once", "--repository", quick, *ROUND, is_fresh=True)
    whole_round = time.monotonic() - began
    repository = ModelRepository(quick)
    for step in range(1, instants + 1):
        process = start("dqn-retrain", "--every=1h", "--metrics-port=0", "--repository", quick, *ROUND, is_fresh=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(whole_round * step / instants)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
        if (process.returncode, output, errors) != (-signal.SIGTERM, "", ""):  # Python itself was still starting
            assert process.returncode == 0, errors
        assert "Traceback" not in errors
        for version in repository.versions("cartpole"):
            repository.verify("cartpole", version)
        assert repository.alias("cartpole") in repository.versions("cartpole")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "either --once or --every"),
        (["--once", "--every=1m"], "either --once or --every"),
        (["--every=soon"], "--every is 'soon'"),
        (["--every=-1m"], "--every is '-1m'"),
    ],
)
def test_wrong_usage_ends_with_status_2(quick: Path, flags: list[str], words: str) -> None:
    """Wrong usage exits with status 2 and a sentence that says what is expected."""
    done = run_here("dqn-retrain", "--repository", quick, *flags)
    assert done.returncode == 2
    assert words in done.stderr
