"""`dqn-experience`, as users type it."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from dqn_experience import datasets
from dqn_experience.exploration import episode_key, explore
from dqn_experience.recording.settings import WriterSettings
from dqn_experience.recording.writer import ExperienceWriter
from dqn_experience.records import Behavior, Outcome, RecordedEpisode
from dqn_models.repository import ModelRepository
from dqn_testing.commands import result, run
from dqn_testing.experience import MODEL, behavior
from dqn_testing.repositories import CARTPOLE_WEIGHTS, publish_linear

pytestmark = pytest.mark.slow
AT_ONCE = ("--idle-seconds", "0", "--reward-wait-seconds", "0")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a version 1."""
    repository = ModelRepository(tmp_path_factory.mktemp("models"))
    publish_linear(repository, promote=True)
    return repository.root


def champion(repository: Path) -> Behavior:
    """Version 1, with the hash of its file."""
    sha256 = ModelRepository(repository).manifest(MODEL, 1).files["model.onnx"].sha256
    return msgspec.structs.replace(behavior(), sha256=sha256)


@pytest.fixture
def store(tmp_path: Path, repository: Path) -> Path:
    """Ten episodes by version 1 of the model, and one by somebody else."""
    store, generator = tmp_path / "store", np.random.default_rng(0)
    with closing(ExperienceWriter(store, WriterSettings(seal_bytes=2000))) as writer:
        for number in range(10):
            name = f"e{number}"
            for step in range(4):
                seen = generator.normal(size=(1, 4)).astype(np.float32)
                action, propensity = explore(
                    episode_key("s", MODEL, name), step, int((seen @ CARTPOLE_WEIGHTS).argmax()), 0.25, 2
                )
                writer.append(champion(repository), [name], [step], seen, [action], [propensity], [0.25])
            ends = [Outcome(name, step, 1.0) for step in range(3)]
            writer.report(MODEL, [*ends, Outcome(name, 3, 1.0, "terminated")]).result(10)
        recorded = RecordedEpisode("plc", bytes(32), [0], [1.0], None, "truncated")
        writer.record(behavior(0), recorded).result(10)
    return store


def test_from_a_log_to_an_audited_dataset(store: Path, repository: Path) -> None:
    """compact, stat, audit, verify and prune report what they did, as text and as one line of JSON."""
    places = ("--store", store, "--repository", repository)
    (made,) = result("dqn-experience", "compact", *AT_ONCE, *places)
    assert (made["dataset"], made["episodes"], made["steps"], made["imported"]) == (1, 11, 41, 1)
    assert made["audit"] == {"checked": 40, "wrong": 0, "ties": 0, "skipped": 1}
    assert "nothing to release, 0 episodes are open" in run("dqn-experience", "compact", MODEL, *places).stdout
    found = result("dqn-experience", "stat", "--store", store)
    assert found["log"]["live"] == 0
    assert found["models"][0]["decisions"] == found["models"][0]["outcomes"] == 40
    assert found["models"][0]["datasets"][0]["steps"] == 41
    assert "cartpole" in run("dqn-experience", "stat", "--store", store).stdout
    assert result("dqn-experience", "audit", f"{MODEL}@1", *places)["wrong"] == 0
    assert "40 propensities recomputed, 0 wrong" in run("dqn-experience", "audit", MODEL, *places).stdout
    assert all(each["error"] == "" for each in result("dqn-experience", "verify", "--store", store))
    pruned = result("dqn-experience", "prune", "--store", store, "--dry-run")
    assert len(pruned["files"]) == found["log"]["files"]
    assert result("dqn-experience", "stat", "--store", store) == found
    run("dqn-experience", "prune", "--store", store)
    after = result("dqn-experience", "stat", "--store", store)
    assert (after["log"]["files"], after["models"][0]["datasets"]) == (0, found["models"][0]["datasets"])


def test_tail_shows_the_latest(store: Path) -> None:
    """Of all episodes or of one, the oldest first."""
    events = result("dqn-experience", "tail", MODEL, "--store", store, "--episode", "e9")
    assert [event["kind"] for event in events].count("decision") == 4
    assert {event["episode"] for event in events} == {"e9"}
    assert events == sorted(events, key=lambda event: event["time"])
    lines = run("dqn-experience", "tail", MODEL, "--store", store, "--count", 3).stdout.splitlines()
    assert len(lines) == 3
    assert "episode=plc" in lines[-1]


def test_a_wrong_propensity_ends_an_audit_with_1(store: Path, repository: Path) -> None:
    """It is also counted in the manifest of the dataset."""
    with closing(ExperienceWriter(store)) as writer:
        seen = np.zeros((1, 4), np.float32)
        writer.append(champion(repository), ["forged"], [0], seen, [0], [0.4], [0.25])
        writer.report(MODEL, [Outcome("forged", 0, 1.0, "terminated")]).result(10)
    places = ("--store", store, "--repository", repository)
    assert "1 of 41 propensities wrong" in run("dqn-experience", "compact", *AT_ONCE, *places).stdout
    done = run("dqn-experience", "audit", MODEL, *places)
    assert (done.returncode, done.stderr) == (1, "error: 1 of 41 propensities are not what their version gives.\n")


def test_damage_ends_verify_with_1(store: Path) -> None:
    """The file is named."""
    path = min((store / "log").iterdir())
    path.write_bytes(path.read_bytes()[:3000])
    done = run("dqn-experience", "verify", "--store", store)
    assert done.returncode == 1
    assert f"{path.name}: {path} is damaged or not a log file" in done.stdout
    assert "files and datasets are damaged" in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["tail", MODEL, "--count", "0"], 2, "--count is 0"),
        (["prune", "--keep", "0"], 2, "--keep is 0"),
        (["audit", MODEL], 1, "has no dataset"),
        (["compact", "../x"], 1, "model name"),
        (["compact", "--idle-seconds", "soon"], 2, "soon"),
    ],
)
def test_a_failure_is_one_sentence(tmp_path: Path, words: list[str], status: int, message: str) -> None:
    """Without a traceback, and with the right exit status."""
    done = run("dqn-experience", *words, "--store", tmp_path)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_store_is_not_a_failure(tmp_path: Path) -> None:
    """Each command says that there is nothing."""
    for words in (["stat"], ["compact"], ["verify"], ["prune"], ["tail", MODEL]):
        done = run("dqn-experience", *words, "--store", tmp_path / "none")
        assert (done.returncode, done.stderr) == (0, "")
    found: Any = json.loads(run("dqn-experience", "stat", "--json", "--store", tmp_path / "none").stdout)
    assert found["models"] == []
    assert datasets.models(tmp_path / "none") == []
