"""Evaluations of a run: bounded by its steps, counted, compared with random actions, possible with one instance."""

import contextlib
import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest

from dqn_models.repository import ModelRepository
from dqn_training.config import DQNConfig
from dqn_training.envs.checks import FaultyEnvironmentError
from dqn_training.envs.make import describe, environment_for
from dqn_training.evaluation.evaluator import Evaluator
from dqn_training.learning.state import TrainingState
from dqn_training.publishing.publish import publish
from dqn_training.publishing.trials import play_test_episodes
from dqn_training.retraining.round import Round
from dqn_training.run.callbacks import Callback
from dqn_training.run.candidate import Candidate
from dqn_training.run.run import Run
from dqn_training.tracking.progress import TrainingProgress
from dqn_training.tuning.objective import Search, train_and_score
from tests.training.environments import Endless

ENDLESS = "tests.training.environments:Endless-v0"
SINGLE = "tests.training.environments:Single-v0"
QUICK: dict[str, Any] = {
    "hidden_sizes": (8,),
    "batch_size": 8,
    "learning_starts": 50,
    "train_every": 50,
    "num_envs": 2,
    "vectorization": "sync",
}


def trained(env_id: str, length: int = 0, callbacks: tuple[Callback, ...] = (), **settings: Any) -> Candidate:
    """The candidate of a short run."""
    kwargs = {"length": length} if length else {}
    config = DQNConfig(env_id, kwargs, **QUICK | settings)
    return Run(config, "general", environment_for(config), callbacks).train()


@pytest.mark.parametrize("length", [0, 3, 100])
def test_every_evaluation_of_a_search_is_played_within_its_fraction(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one episode where there are no steps for more, so that all trials are compared by equally many."""
    steps = itertools.count()
    step = Endless.step

    def counted(*arguments: Any) -> Any:
        next(steps)
        return step(*arguments)

    monkeypatch.setattr(Endless, "step", counted)
    kwargs = {"length": length} if length else {}
    config = DQNConfig(ENDLESS, kwargs, **QUICK, total_env_steps=5_000, episode_step_limit=200)
    search = Search(config, environment_for(config), 100, 1, evaluations=10, episodes=20, evaluation_fraction=0.5)
    assert len(train_and_score(search, config, 100)) == 10
    evaluated = next(steps) - 5_000
    assert 10 <= evaluated <= 2_500 + 200 + 200, "of training, and of random actions; and an episode beyond"


@pytest.mark.parametrize("length", [0, 3, 100, 3_000])
def test_evaluations_take_at_most_their_fraction_of_the_steps(length: int) -> None:
    """However long episodes are, once ten whole ones are affordable; each evaluation but the last has ten or more."""
    candidate = trained(ENDLESS, length, total_env_steps=30_000)
    assert candidate.evaluation_env_steps <= 0.11 * candidate.env_steps, "a tenth, and a hundredth for random actions"
    assert all(score.episodes >= 10 for score in candidate.scores[:-1])
    assert len(candidate.scores) == {0: 1, 3: 15, 100: 1, 3_000: 1}[length]
    assert sum(score.cut for score in candidate.scores) == {0: 3, 3: 0, 100: 0, 3_000: 3}[length]


def test_a_short_run_is_evaluated_by_one_episode_that_may_be_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no episode fits; the report is one episode where there is no time, and says that it was cut short."""
    candidate = trained(ENDLESS, total_env_steps=500)
    assert [(score.episodes, score.cut, score.mean_length) for score in candidate.scores] == [(1, 1, 200)]
    assert candidate.random_mean is None, "no random episode came to its end"
    monkeypatch.setattr("dqn_training.run.candidate._LEAST_SECONDS", 0.0)
    report = play_test_episodes(dataclasses.replace(candidate, wall_seconds=0.0))
    assert (report.episodes, report.cut_short, report.mean_length) == (1, 1, 1_000)


@pytest.mark.parametrize(
    ("settings", "episodes"), [({}, 10), ({"eval_fraction": 20.0}, 20), ({"report_episodes": 3}, 3)]
)
def test_a_report_of_long_episodes_takes_a_bounded_number_of_steps(settings: dict[str, Any], episodes: int) -> None:
    """However little a step costs: 10,000, or half of the fraction that evaluations have."""
    candidate = trained(ENDLESS, 1_000, total_env_steps=2_000, eval_episodes=2, **settings)
    assert play_test_episodes(candidate).episodes == episodes


def test_evaluations_are_counted_everywhere(tmp_path: Path) -> None:
    """The manifest's number includes training, random actions, the gate and the report."""
    settings: dict[str, Any] = {"total_env_steps": 2_000, "report_episodes": 5, "gate_episodes": 7}
    first, second = (trained(ENDLESS, 10, seed=seed, **settings) for seed in (0, 1))
    repository = ModelRepository(tmp_path)
    publish(first, repository, "endless", "non-inferior", "test")
    published = publish(second, repository, "endless", "non-inferior", "test").manifest
    assert published.training.evaluation_env_steps == second.evaluation_env_steps + 10 * (5 + 2 * 7)
    assert second.evaluation_env_steps == 10 * (20 + sum(score.episodes for score in second.scores))


def test_the_mean_of_random_actions_is_reported_with_every_evaluation(tmp_path: Path) -> None:
    """In the manifest and its card; a policy that does worse is reported as such."""
    candidate = trained(ENDLESS, 10, total_env_steps=2_000)
    assert candidate.random_episodes == 20
    repository = ModelRepository(tmp_path)
    for mean, said in [(-100.0, False), (100.0, True)]:
        changed = dataclasses.replace(candidate, random_mean=mean)
        manifest = publish(changed, repository, "endless", "non-inferior", "test").manifest
        assert (manifest.evaluation.random_mean, manifest.evaluation.random_episodes) == (mean, 20)
        card = repository.read_file("endless", manifest.version, "MODEL_CARD.md").decode()
        assert f"a random policy reaches {mean:.2f}" in card
        assert ("worse than random" in card) == said


def test_a_run_says_that_episodes_do_not_end_by_themselves() -> None:
    """Once, at its start; a limit that the user has set is not reported."""
    for settings, count in [({}, 1), ({"episode_step_limit": 50}, 0)]:
        said: list[str] = []
        config = DQNConfig(ENDLESS, **QUICK, total_env_steps=200, **settings)  # type: ignore[arg-type]  # one type
        Run(config, "general", environment_for(config), say=said.append).train()
        assert len([sentence for sentence in said if "no time limit" in sentence]) == count


def test_progress_is_shown_while_an_evaluation_plays(capsys: pytest.CaptureFixture[str]) -> None:
    """With the steps so far and the maximum."""
    config = DQNConfig(ENDLESS, **QUICK, total_env_steps=500)
    progress = TrainingProgress(config, "endless")
    progress._seconds = 0.0
    trained(ENDLESS, callbacks=(progress,), total_env_steps=500)
    assert "evaluating: 100 of at most 200 steps" in capsys.readouterr().err


def test_progress_is_shown_while_a_round_of_retraining_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines of a round go on with the gate and the final evaluation."""
    monkeypatch.setattr("dqn_training.tracking.progress._PLAIN_SECONDS", 0.0)
    monkeypatch.setenv("DQN_RUNS", str(tmp_path / "runs"))
    few = {"total_env_steps": 500, "report_episodes": 5, "gate_episodes": 5}
    config = DQNConfig(ENDLESS, {"length": 10}, **QUICK | few)
    for number in range(2):
        Round(ModelRepository(tmp_path), "endless", config, "general", "warm", "non-inferior", progress=True).run()
        said = capsys.readouterr().err
        assert said.count("at most 500 environment steps") == 1
        assert "training finished, final evaluation: 10 steps" in said
        assert ("training finished, gate: 10 steps" in said) == (number == 1)


def test_one_instance_per_process_is_enough(tmp_path: Path) -> None:
    """It trains, is evaluated, reported, gated and published; training's own episodes are not disturbed."""
    lengths: list[float] = []

    class Lengths(Callback):
        """Records the episodes of training."""

        def end(self, state: TrainingState) -> None:
            """Records the end."""
            lengths.extend(episode.length for episode in state.episodes)

    one = {"num_envs": 1, "eval_envs": 1, "total_env_steps": 1_500, "gate_episodes": 5, "report_episodes": 5}
    candidate = trained(SINGLE, callbacks=(Lengths(),), eval_every=500, **one)
    assert lengths == [20] * 75
    assert len(candidate.scores) == 1
    repository = ModelRepository(tmp_path)
    for _ in range(2):
        published = publish(candidate, repository, "single", "non-inferior", "test")
    assert published.promoted
    assert published.manifest.evaluation.episodes == 5


def test_evaluations_are_the_same_in_a_separate_process() -> None:
    """One environment at a time, in another process, gives the same returns as many at a time in this one."""
    many, one = (trained(ENDLESS, 10, total_env_steps=2_000, eval_envs=count) for count in (32, 1))
    assert many.scores == one.scores
    assert (many.random_mean, many.onnx) == (one.random_mean, one.onnx)


def test_a_second_instance_that_fails_names_the_remedy() -> None:
    """The environment's sentence, and the flags."""
    with pytest.raises(FaultyEnvironmentError, match="--num-envs 1 --eval-envs 1"):
        trained(SINGLE, num_envs=1, total_env_steps=1_500)


@pytest.mark.parametrize("fault", ["rewards", "exception", "nan", "four"])
def test_no_other_fault_names_the_flags_for_a_single_instance(fault: str) -> None:
    """Errors of an existing instance have another cause."""
    config = DQNConfig("tests.training.environments:Faulty-v0", {"fault": fault})
    with pytest.raises(FaultyEnvironmentError, match="in step 2 of an episode") as raised:
        Run(config, "general", environment_for(config)).train()
    assert "--eval-envs" not in str(raised.value)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("exception", "Faulty-v0 failed in step 2 of an episode: LookupError"),
        ("death", "The process in which .*Faulty-v0 was evaluated died"),
    ],
)
def test_an_environment_that_fails_in_the_process_of_its_evaluation_is_named(fault: str, words: str) -> None:
    """Like one that fails in the training process."""
    environment = describe("tests.training.environments:Faulty-v0", {"fault": fault})
    with (
        contextlib.closing(Evaluator(environment, 1, 100)) as evaluator,
        pytest.raises(FaultyEnvironmentError, match=words),
    ):
        evaluator.play(None, 0, 10)
