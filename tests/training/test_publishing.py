"""Publishing a candidate: once, and compared with the champion at that moment and with the best version."""

import dataclasses
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import linear_onnx
from dqn_training.config import DQNConfig
from dqn_training.envs.make import environment_for
from dqn_training.publishing.publish import Published, publish
from dqn_training.publishing.trials import Trials
from dqn_training.run.callbacks import Callback
from dqn_training.run.candidate import Candidate
from dqn_training.run.directory import RunDirectory
from dqn_training.run.run import Run

CONFIG = DQNConfig(
    "CartPole-v1",
    hidden_sizes=(8,),
    total_env_steps=200,
    learning_starts=50,
    eval_every=100,
    eval_episodes=2,
    report_episodes=20,
    gate_episodes=20,
)
BALANCING, FALLING = [0.1, 0.5, 2.0, 1.0], [0.0, 0.0, -1.0, 0.0]


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    """The candidate of a one-second run."""
    return Run(CONFIG, "general", environment_for(CONFIG)).train()


def playing(candidate: Candidate, weights: list[float], seed: int = 0) -> Candidate:
    """The candidate with a policy that pushes right if the weighted sum of the observation is positive."""
    onnx = linear_onnx(np.array([[-value, value] for value in weights], np.float32))
    config = dataclasses.replace(candidate.config, seed=seed)
    return dataclasses.replace(candidate, config=config, onnx=onnx)


def offered(candidate: Candidate, repository: ModelRepository, directory: RunDirectory | None = None) -> Published:
    """Publishes it with the default rule."""
    return publish(candidate, repository, "cartpole", "non-inferior", "test", directory)


def test_the_gate_measures_a_candidate_against_the_best_version_too(candidate: Candidate, tmp_path: Path) -> None:
    """After a worse version was promoted by hand, a candidate that is only as good as that is kept back."""
    repository = ModelRepository(tmp_path)
    good = offered(playing(candidate, BALANCING), repository).manifest
    bad = offered(playing(candidate, FALLING, seed=1), repository)
    assert (good.version, bad.promoted) == (1, False)
    repository.promote("cartpole", bad.manifest.version)
    as_bad = offered(playing(candidate, FALLING, seed=2), repository)
    gate = as_bad.manifest.gate
    assert gate is not None
    assert not as_bad.promoted
    assert gate.champion_version == 2
    assert gate.statistics["difference_low"] == 0.0
    assert gate.statistics["best_version"] == 1
    assert "The best version so far, 1," in gate.reason
    recorded = repository.history("cartpole")[-1]["gate"]
    assert recorded is not None
    assert recorded["statistics"] == gate.statistics
    (tmp_path / "cartpole" / "1" / "model.onnx").write_bytes(b"")
    assert offered(playing(candidate, FALLING, seed=3), repository).promoted, "a damaged version is no measure"


def test_the_gate_says_that_the_champion_was_trained_for_another_environment(
    candidate: Candidate, tmp_path: Path
) -> None:
    """The same model with other `--env-kwargs`: the reason names both; in the same environment it names neither."""
    repository = ModelRepository(tmp_path)
    offered(playing(candidate, BALANCING), repository)
    other = candidate.environment.model_copy(update={"kwargs": {"sutton_barto_reward": True}})
    changed = offered(dataclasses.replace(playing(candidate, BALANCING, seed=1), environment=other), repository)
    same = offered(dataclasses.replace(playing(candidate, BALANCING, seed=2), environment=other), repository)
    assert changed.manifest.gate
    assert same.manifest.gate
    sentence = "Both played CartPole-v1 {'sutton_barto_reward': True}; the champion was trained in CartPole-v1."
    assert sentence in changed.manifest.gate.reason
    assert ("Both played" in same.manifest.gate.reason) != changed.promoted


def test_the_gate_says_that_bounds_have_changed(candidate: Candidate, tmp_path: Path) -> None:
    """An environment whose features have other bounds is another one, though its policies can be compared."""
    repository = ModelRepository(tmp_path)
    offered(playing(candidate, BALANCING), repository)
    space = candidate.environment.observation_space.model_copy(update={"high": [9.6, 10.0, 0.84, 10.0]})
    other = candidate.environment.model_copy(update={"observation_space": space})
    gates = [
        offered(
            dataclasses.replace(playing(candidate, BALANCING, seed=seed), environment=other), repository
        ).manifest.gate
        for seed in (1, 2)
    ]
    sentence = "Since the champion was trained, the bounds of its observations have changed in CartPole-v1."
    assert [sentence in gate.reason for gate in gates if gate] == [True, False]
    assert [gate.statistics.get("best_version") for gate in gates if gate] == [None, None]


def test_a_candidate_is_gated_again_if_somebody_promotes_meanwhile(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is published once, and promoted only if it also passes against the champion of that moment."""
    repository = ModelRepository(tmp_path)
    offered(playing(candidate, FALLING), repository)
    good = offered(playing(candidate, BALANCING, seed=1), repository).manifest.version
    repository.promote("cartpole", 1)
    promote, other = ModelRepository.promote, ModelRepository(tmp_path)

    def promote_late(repository: ModelRepository, model: str, version: int, **facts: Any) -> Any:
        monkeypatch.setattr(ModelRepository, "promote", promote)
        other.promote(model, good)
        return promote(repository, model, version, **facts)

    monkeypatch.setattr(Trials, "_best", lambda *_: None)  # only the champion counts here
    monkeypatch.setattr(ModelRepository, "promote", promote_late)
    published = offered(playing(candidate, FALLING, seed=2), repository)
    assert not published.promoted
    assert repository.alias("cartpole") == good
    assert repository.versions("cartpole") == [1, 2, 3]


@pytest.mark.parametrize(
    ("owner", "method", "champion"), [(RunDirectory, "finish", 1), (ModelRepository, "promote", None)]
)
def test_a_run_publishes_once_and_completes_what_a_kill_cut_off(
    candidate: Candidate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: type[object],
    method: str,
    champion: int | None,
) -> None:
    """Killed after the publication, with or without the promotion, it ends with the same version and result."""
    repository, directory = ModelRepository(tmp_path / "store"), RunDirectory(tmp_path / "run")

    class Killed(BaseException):
        """Simulates the kill."""

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with directory.locked():
        directory.begin(tmp_path, CONFIG, name="cartpole", preset="general", gate="non-inferior")
    with monkeypatch.context() as patch:
        patch.setattr(owner, method, kill)
        with pytest.raises(Killed):
            offered(candidate, repository, directory)
    assert repository.alias("cartpole") == champion
    done = offered(candidate, repository, directory)
    assert (done.manifest.version, done.promoted, repository.versions("cartpole")) == (1, True, [1])
    assert directory.read_result() == done.as_json()
    assert repository.alias("cartpole") == 1


def test_a_candidate_holds_no_replay_buffer() -> None:
    """So that the second training run of a round starts with the first one's memory freed."""
    states: list[Any] = []

    class Keep(Callback):
        """Keeps a weak reference to the run's training state."""

        def begin(self, state: Any) -> None:
            """Takes the reference."""
            states.append(weakref.ref(state.replay))

    kept = Run(CONFIG, "general", environment_for(CONFIG), [Keep()]).train()
    assert kept.env_steps >= 200
    assert states[0]() is None
