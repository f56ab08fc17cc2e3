"""`dqn-train` and `dqn-evaluate` as users type them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from dqn_models.repository import ModelRepository
from dqn_testing.commands import QUICK, result, run, run_here, start
from dqn_testing.trained import Trained

COUNTDOWN = "tests.training.environments:Countdown-v0"

pytestmark = pytest.mark.slow
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def test_a_run_publishes_a_version_with_its_proof(trained: Trained) -> None:
    """The first version has every documented file, verifies, records how it was made, and becomes champion at once."""
    manifest, repository = trained.manifest, ModelRepository(trained.repository)
    assert (manifest["model"], manifest["version"], manifest["promoted"]) == ("cartpole", 1, True)
    assert manifest["gate"] is None
    assert set(manifest["files"]) == {"model.onnx", "weights.safetensors", "training_curve.png", "MODEL_CARD.md"}
    assert manifest["training"]["config"]["hidden_sizes"] == [32]
    assert manifest["training"]["env_steps"] >= 3000
    assert manifest["evaluation"]["episodes"] == 50
    repository.verify("cartpole", 1)
    assert repository.alias("cartpole") == 1
    card = repository.read_file("cartpole", 1, "MODEL_CARD.md").decode()
    assert f"mean return\n{manifest['evaluation']['mean']:.2f}" in card
    onnx.checker.check_model(onnx.load(trained.repository / "cartpole" / "1" / "model.onnx"), full_check=True)


def test_the_same_seed_gives_the_same_file(tmp_path: Path, trained: Trained) -> None:
    """Two processes with the same command and seed write byte-identical ONNX files; another seed does not."""
    first = trained.manifest["files"]["model.onnx"]["sha256"]
    again, other = (
        result("dqn-train", "--repository", tmp_path / str(seed), *QUICK, "--seed", seed)["files"]["model.onnx"][
            "sha256"
        ]
        for seed in (0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        ("FrozenLake-v1", "{}"),
        ("examples.tunable_cartpole:TunableCartPole-v0", "{}"),
        (COUNTDOWN, '{"space": "box"}'),
        (COUNTDOWN, '{"space": "image"}'),
        (COUNTDOWN, '{"space": "discrete"}'),
    ],
)
def test_any_discrete_action_environment_works(tmp_path: Path, env_id: str, kwargs: str) -> None:
    """Box, image and Discrete observations, and actions that start at 5, train with and without a vector version."""
    flags = ["--env-id", env_id, "--env-kwargs", kwargs, "--name", "any", "--repository", tmp_path]
    manifest = result("dqn-train", *flags, *QUICK)
    assert manifest["training"]["preset"] == "general"
    published = manifest["evaluation"]
    evaluation = result("dqn-evaluate", "any", "--repository", tmp_path, "--episodes", published["episodes"])
    assert evaluation["mean"] == published["mean"]  # the manifest's own seeds


@pytest.mark.parametrize("preset", ["rainbow", "pqn"])
def test_the_whole_family_trains_and_repeats(tmp_path: Path, preset: str) -> None:
    """The presets with every extension publish a version, and the same seed gives the same file."""
    flags = ["--preset", preset, *QUICK, "--num-envs", 16, "--total-env-steps", 2000, "--eval-every", 1000]
    made = [
        result("dqn-train", "--repository", tmp_path / str(is_fresh), *flags, is_fresh=is_fresh)
        for is_fresh in (True, False)
    ]
    assert made[0]["training"]["preset"] == preset
    assert made[0]["files"]["model.onnx"] == made[1]["files"]["model.onnx"]


def test_a_policy_learns_where_the_action_space_has_a_start(tmp_path: Path) -> None:
    """On Countdown, whose three actions start at 5, the trained policy plays all four steps correctly."""
    flags = ["--env-id", COUNTDOWN, "--name", "countdown", "--repository", tmp_path]
    assert result("dqn-train", *flags, *QUICK, "--total-env-steps=6000")["evaluation"]["min"] == 4.0


@pytest.mark.parametrize("vectorization", ["native", "sync", "async"])
def test_every_vectorization_trains(tmp_path: Path, vectorization: str) -> None:
    """Native, synchronous and subprocess vector environments each lead to a published version."""
    flags = ["--vectorization", vectorization, "--num-envs", 2, "--repository", tmp_path]
    assert result("dqn-train", *flags, *QUICK, "--total-env-steps=1500")["version"] == 1


def test_a_second_version_passes_the_gate(tmp_path: Path, trained: Trained) -> None:
    """A later run is compared with the champion, and its manifest and the history record the decision."""
    trained.copy(tmp_path)
    manifest = result("dqn-train", "--repository", tmp_path, *QUICK, "--seed", 1, "--gate", "superior")
    assert manifest["gate"]["champion_version"] == 1
    assert manifest["gate"]["rule"] == "superior"
    assert manifest["promoted"] == (manifest["gate"]["decision"] == "promoted")
    repository = ModelRepository(tmp_path)
    assert repository.alias("cartpole") == (2 if manifest["promoted"] else 1)
    published = [event for event in repository.history("cartpole") if event["event"] == "publish"]
    assert published[1]["gate"] == manifest["gate"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--gamma", "1.5"], "gamma is 1.5; it must lie between 0 and 1"),
        (["--batch-size", "200000"], "--batch-size is 200000"),
        (["--env-id", "Nope-v1"], "env_id is 'Nope-v1'"),
        (["--env-id", "Pendulum-v1"], "action space"),
        (["--env-kwargs", "3"], "not a JSON object"),
        pytest.param(["--device", "cuda"], "finds no CUDA device", marks=without_gpu),
        (["--replay-capacity", "100000000000"], "GB of free memory. Use at most"),
        (["--name", "../x"], "'../x' is not a valid model name"),
        (["--preset", "nope"], "nope"),
        (["--nonsense"], "--nonsense"),
        (["--env-id", "Acrobot-v1", "--num-envs", "2", "--vectorization", "native"], "has no vector version"),
    ],
)
def test_wrong_usage_ends_with_status_2_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], words: str
) -> None:
    """The sentence names what is wrong; nothing is written and there is no traceback."""
    runs = tmp_path / "runs"
    runs.mkdir()
    monkeypatch.setenv("DQN_RUNS", str(runs))
    done = run_here("dqn-train", "--repository", tmp_path / "store", *flags)
    assert done.returncode == 2
    text = " ".join(done.stderr.replace("│", " ").split())
    assert words in text
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store").exists()
    assert not list(runs.iterdir())


@without_gpu
@pytest.mark.parametrize("words", [["dqn-retrain", "--once", "--preset=cartpole"], ["dqn-tune"]])
def test_a_missing_gpu_is_wrong_usage_everywhere(tmp_path: Path, words: list[Any]) -> None:
    """Every command that trains refuses a missing GPU before it does anything."""
    place = ["--repository", tmp_path / "store"] if words[0] == "dqn-retrain" else ["--storage", tmp_path / "store"]
    done = run_here(*words, *place, "--device", "cuda")
    assert done.returncode == 2
    assert "finds no CUDA device" in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("is_fresh", [True, False])
def test_wrong_usage_ends_a_process_with_status_2(tmp_path: Path, *, is_fresh: bool) -> None:
    """Wrong usage ends a real process in the same way as the in-process calls of the other tests."""
    done = run("dqn-train", "--repository", tmp_path / "store", "--gamma", "1.5", is_fresh=is_fresh)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --gamma is 1.5; it must lie between 0 and 1.\n"


@pytest.mark.parametrize(
    ("command", "flags", "sentence"),
    [
        ("dqn-train", ["--report-episodes", 0], "--report-episodes is 0; it must be at least 1."),
        ("dqn-retrain", ["--once", "--gate-episodes", 1], "--gate-episodes is 1; it must be at least 2."),
        ("dqn-tune", ["--batch-size", 0], "--batch-size is 0; it must be at least 1."),
        ("dqn-train", ["--epsilon-start", 0, "--epsilon-end", 1], "--epsilon-end is 1.0; it must be at most epsilon_"),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_its_flag(command: str, flags: list[Any], sentence: str) -> None:
    """A setting out of range is refused in one sentence that names its flag, without a box around it."""
    done = run_here(command, *flags)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {sentence}")
    assert done.stderr.count("\n") == 1


def test_several_trainings_of_one_model_all_publish_and_the_best_is_champion(tmp_path: Path) -> None:
    """Runs started together all exit with 0, each compared with the champion that the previous one left."""
    flags = ["--repository", tmp_path, "--total-env-steps=600", "--eval-every=300", "--learning-starts=100"]
    flags += ["--eval-episodes=5", "--report-episodes=50", "--gate-episodes=50", "--gate=superior", "--json"]
    started = [start("dqn-train", *flags, "--seed", seed) for seed in range(4)]
    results = []
    for process in started:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        results.append(json.loads(output))
    results.sort(key=lambda each: int(each["version"]))
    assert [each["version"] for each in results] == [1, 2, 3, 4]
    champion = None
    for each in results:
        assert (each["gate"] and each["gate"]["champion_version"]) == champion
        assert each["promoted"] == (champion is None or each["gate"]["decision"] == "promoted")
        champion = each["version"] if each["promoted"] else champion
    assert ModelRepository(tmp_path).alias("cartpole") == champion


@pytest.mark.parametrize("flags", [["--num-envs", 1], ["--num-envs", 2]])
def test_an_environment_with_one_instance_per_process_works_throughout(tmp_path: Path, flags: list[Any]) -> None:
    """It is trained, evaluated, gated, published, played again and retrained, each instance alone in its process."""
    store = ["--repository", tmp_path]
    few = ["--total-env-steps", 400, "--learning-starts", 128, "--gate-episodes", 5, "--report-episodes", 1]
    manifest = result("dqn-train", "--env-id", "tests.training.environments:Single-v0", *flags, *few, *store)
    assert (manifest["promoted"], manifest["evaluation"]["episodes"]) == (True, 1)
    assert manifest["training"]["config"]["eval_envs"] == 1
    assert result("dqn-evaluate", "single", "--episodes", 3, *store)["mean_length"] == 20
    assert result("dqn-retrain", "--once", "--name", "single", *store)["champion_version"] == 1


def test_ctrl_c_ends_training_and_publishes_nothing(tmp_path: Path) -> None:
    """Interrupted while it trains, the command exits with 130 and says that nothing was published."""
    process = start("dqn-train", "--repository", tmp_path, "--stop-return", 1e9)
    assert process.stderr is not None
    for line in process.stderr:
        if "evaluation return" in line:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Nothing was published" in errors
    assert "Traceback" not in errors
    assert ModelRepository(tmp_path).versions("cartpole") == []


def test_help_explains_every_field(tmp_path: Path) -> None:
    """`--help` lists each setting with its default, and needs no training library."""
    done = run("dqn-train", "--help", is_fresh=True)
    assert done.returncode == 0
    assert "--learning-rate" in done.stdout
    assert "(default: 0.003)" in " ".join(done.stdout.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="a window needs Debian's package xvfb")
def test_the_live_plot_draws_in_a_window(tmp_path: Path) -> None:
    """`--live-plot` opens a real window on a (virtual) screen and keeps it open with the result."""
    words = [sys.executable, str(Path(__file__).with_name("live_plot_window.py")), str(tmp_path), *QUICK]
    done = subprocess.run(
        [shutil.which("xvfb-run") or "", "-a", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "window drawn, result shown\n"
