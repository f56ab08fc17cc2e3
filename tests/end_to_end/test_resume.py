"""`dqn-train --run-dir` and `--resume` as users type them."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.commands import QUICK, result, run, run_here, start
from dqn_testing.server import wait_until

OFTEN = "--checkpoint-seconds=0.01"

pytestmark = pytest.mark.slow


def until_checkpoint(process: subprocess.Popen[str], folder: Path) -> None:
    """Waits until a training process has replaced the checkpoint in its run's directory."""
    checkpoint = folder / "checkpoint"
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
    deadline = time.monotonic() + 60
    while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def killed(folder: Path, *arguments: object, after: float = 0.0, env: dict[str, str] | None = None) -> None:
    """Starts `dqn-train` and kills it some seconds after its next checkpoint."""
    process = start("dqn-train", *arguments, OFTEN, env=env)
    until_checkpoint(process, folder)
    time.sleep(after)
    process.kill()
    process.communicate()


def with_threads(count: int) -> dict[str, str]:
    """The environment of a process that requests this many threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return os.environ | dict.fromkeys(names, str(count))


def onnx(repository: Path, manifest: Any) -> bytes:
    """The model that a run published."""
    return ModelRepository(repository).read_file(manifest["model"], manifest["version"], "model.onnx")


def test_a_run_killed_again_and_again_ends_with_the_same_model(tmp_path: Path) -> None:
    """A run publishes the bytes of an uninterrupted one, though it was killed at three random instants, had a damaged
    checkpoint, then none, and was given other numbers of threads.
    """
    folder, generator = tmp_path / "run", random.Random(0)
    words = ["--repository", tmp_path / "whole", *QUICK, "--json"]
    output, errors = start("dqn-train", *words, env=with_threads(1)).communicate(timeout=120)
    assert output, errors
    whole = json.loads(output)

    words = [*QUICK, "--repository", tmp_path / "parts", "--run-dir", folder]
    killed(folder, *words, after=generator.uniform(0, 0.3), env=with_threads(4))
    checkpoint = folder / "checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    refused = run("dqn-train", "--resume", folder)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith(f"error: {checkpoint} is damaged:")
    checkpoint.unlink()
    for _ in range(2):
        killed(folder, "--resume", folder, after=generator.uniform(0, 0.3))
    parts = result("dqn-train", "--resume", folder)

    assert onnx(tmp_path / "parts", parts) == onnx(tmp_path / "whole", whole)
    for name in ("env_steps", "gradient_steps", "episodes", "config", "preset", "seed"):
        assert parts["training"][name] == whole["training"][name]
    assert parts["evaluation"] == whole["evaluation"]
    kept = {path.name for path in folder.iterdir()}
    assert {"run.json", "result.json"} <= kept
    assert not any("checkpoint" in name for name in kept), "a finished run needs none"
    again = result("dqn-train", "--resume", folder)
    assert again == parts, "a finished run prints its result and trains nothing"
    assert ModelRepository(tmp_path / "parts").versions("cartpole") == [1]


def test_the_same_command_in_a_loop_ends_as_an_undisturbed_run(tmp_path: Path) -> None:
    """With --resume auto a command starts, resumes and prints the result, whenever it is killed, even before its first
    file, and keeps the --checkpoint-seconds that it was first given.
    """
    whole = result("dqn-train", *QUICK, "--repository", tmp_path / "whole", "--run-dir", tmp_path / "undisturbed")
    folder = tmp_path / "run"
    words = [*QUICK, "--repository", tmp_path / "parts", "--run-dir", folder, "--resume", "auto"]
    process = start("dqn-train", *words, OFTEN)
    wait_until(folder.exists, 60, "a directory")
    process.kill()
    process.communicate()
    (folder / "run.json").unlink(missing_ok=True)  # the kill may have come a moment too late
    process = start("dqn-train", *words, OFTEN)
    wait_until((folder / "run.json").exists, 60, "run.json")
    process.kill()
    process.communicate()
    for _ in range(2):
        process = start("dqn-train", *words)  # it remembers --checkpoint-seconds
        until_checkpoint(process, folder)
        process.kill()
        process.communicate()
    parts = result("dqn-train", *words)
    assert onnx(tmp_path / "parts", parts) == onnx(tmp_path / "whole", whole)
    assert parts["evaluation"] == whole["evaluation"]
    assert result("dqn-train", *words) == parts
    assert ModelRepository(tmp_path / "parts").versions("cartpole") == [1]
    other = run_here("dqn-train", *words, "--seed", 7)
    assert other.returncode == 2
    assert f"--seed is 7, but the run in {folder} was started with 0." in other.stderr
    nowhere = run_here("dqn-train", "--resume", "auto")
    assert (nowhere.returncode, "--resume auto needs --run-dir DIR" in nowhere.stderr) == (2, True)


def test_a_moved_run_publishes_where_the_project_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative repository moves with the run; a missing one is named, and --repository gives the new place."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    monkeypatch.chdir(before)
    for name, repository in (("relative", Path("store")), ("absolute", before / "store")):
        killed(before / name, *QUICK, "--repository", repository, "--run-dir", name)
    monkeypatch.chdir(tmp_path)
    before.rename(after)
    result("dqn-train", "--resume", after / "relative")
    assert ModelRepository(after / "store").versions("cartpole") == [1]
    gone = run_here("dqn-train", "--resume", after / "absolute")
    assert gone.returncode == 2
    assert f"publishes to {before}/store, which does not exist. If it was moved, give its new" in gone.stderr
    result("dqn-train", "--resume", after / "absolute", "--repository", after / "store")
    assert ModelRepository(after / "store").versions("cartpole") == [1, 2]
    assert not before.exists()


def test_a_run_is_resumed_as_it_was_started(tmp_path: Path) -> None:
    """Ctrl-C prints how to resume; the settings come from the run, and a flag that contradicts them is refused."""
    folder = tmp_path / "run"
    process = start("dqn-train", "--repository", tmp_path / "store", "--run-dir", folder, "--stop-return", 1e9, OFTEN)
    until_checkpoint(process, folder)
    twice = run("dqn-train", "--resume", folder)
    assert (twice.returncode, twice.stderr) == (1, f"error: {folder} is locked: another dqn-train is running there.\n")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert errors.endswith(f"Resume it with: dqn-train --resume {folder}\n")
    for flag, value, was in (
        ("--seed", "3", "0"),
        ("--name", "other", "cartpole"),
        ("--preset", "tutorial", "cartpole"),
    ):
        refused = run_here("dqn-train", "--resume", folder, flag, value)
        assert refused.returncode == 2
        assert f"{flag} is {value}, but the run in {folder} was started with {was}." in refused.stderr
    other = run_here("dqn-train", "--run-dir", folder, "--repository", tmp_path / "store")
    assert other.returncode == 2
    assert f"{folder} already holds a run: resume it with --resume {folder}" in other.stderr
    description = json.loads((folder / "run.json").read_text())
    assert description["config"]["stop_return"] == 1e9
    assert description["repository"] == str(tmp_path / "store")


def test_what_is_not_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    """Resuming a directory without run.json, or with a broken one, is wrong usage."""
    missing = run_here("dqn-train", "--resume", tmp_path)
    assert missing.returncode == 2
    assert f"{tmp_path} is not a run directory: run.json is missing." in missing.stderr
    (tmp_path / "run.json").write_text("{")
    broken = run_here("dqn-train", "--resume", tmp_path)
    assert broken.returncode == 2
    assert "run.json cannot be read" in broken.stderr


def test_a_run_publishes_one_version(tmp_path: Path) -> None:
    """A run that ended between publishing and writing result.json resumes to the version already published."""
    folder, store = tmp_path / "run", tmp_path / "store"
    (folder / "result.json").mkdir(parents=True)  # blocks the last write
    failed = run("dqn-train", *QUICK, "--run-dir", folder, "--repository", store, OFTEN)
    assert failed.returncode == 1
    assert str(folder / "result.json") in failed.stderr
    (folder / "result.json").rmdir()
    finished = result("dqn-train", "--resume", folder)
    assert (finished["version"], finished["promoted"]) == (1, True)
    assert ModelRepository(store).versions("cartpole") == [1]
    assert finished["training"]["run"] == json.loads((folder / "run.json").read_text())["id"]
