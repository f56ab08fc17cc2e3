"""Action masks: found automatically, and obeyed wherever an environment is played."""

import dataclasses
import importlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dqn_models.masks import joint_mask, sample_allowed
from dqn_models.policy import Policy
from dqn_models.spaces import DiscreteSpace
from dqn_training.checkpoint.store import CheckpointFile
from dqn_training.config import DQNConfig
from dqn_training.envs.checks import FaultyEnvironmentError
from dqn_training.envs.make import describe, environment_for
from dqn_training.envs.masks import describe_masks
from dqn_training.envs.vector import make_vector_environment
from dqn_training.evaluation.evaluator import Evaluator
from dqn_training.evaluation.video import EpisodeRenderer
from dqn_training.learning.loop import train
from dqn_training.learning.state import make_state
from dqn_training.publishing.trials import play_test_episodes
from dqn_training.replay.buffer import ReplayBuffer
from dqn_training.run.candidate import Candidate
from dqn_training.run.run import Run

MODULE = "tests.training.mask_environments"
MASKED, PARTS, PAIR = f"{MODULE}:Masked-v0", f"{MODULE}:Parts-v0", f"{MODULE}:Pair-v0"
SHORT: dict[str, Any] = {
    "hidden_sizes": (32,),
    "batch_size": 32,
    "learning_starts": 100,
    "replay_capacity": 1_000,
    "num_envs": 4,
    "total_env_steps": 800,
    "eval_every": 400,
    "eval_episodes": 3,
    "report_episodes": 5,
    "vectorization": "sync",
    "epsilon_decay_steps": 400,
}
FAMILY: list[dict[str, Any]] = [
    {"double_dqn": True},
    {"double_dqn": False, "n_step": 1},
    {"distribution": "c51", "double_dqn": False, "prioritized": True},
    {"distribution": "quantile", "dueling": True},
    {"noisy": True},
    {"algorithm": "pqn", "rollout_steps": 16, "policy_weights": "learned"},
    {"vectorization": "async", "num_envs": 2},
    {"vectorization": "auto", "eval_envs": 1},
]


def settings(env_id: str = MASKED, source: str = "info", **others: Any) -> DQNConfig:
    """A short run in an environment whose masks come from there."""
    kwargs = {} if env_id == PARTS else {"source": source}
    return DQNConfig(**{**SHORT, "env_id": env_id, "env_kwargs": kwargs, **others})


def trained(config: DQNConfig, said: list[str] | None = None) -> Candidate:
    """The candidate of a run."""
    say = (lambda _: None) if said is None else said.append
    return Run(config, "general", environment_for(config), say=say).train()


@pytest.mark.parametrize("others", FAMILY, ids=lambda others: "-".join(map(str, others.values())))
def test_an_environment_that_raises_at_a_forbidden_action_is_trained_and_judged(others: dict[str, Any]) -> None:
    """No algorithm ever takes such an action, nor does an evaluation, with random actions or the policy's."""
    candidate = trained(settings(**others))
    assert candidate.gradient_steps > 20
    assert play_test_episodes(candidate).episodes == 5
    assert candidate.random_mean is not None


@pytest.mark.parametrize("source", ["info", "method", "observation"])
def test_masks_are_found_automatically_and_reported_once(source: str) -> None:
    """The manifest records where they are, and the run says so in a sentence."""
    said: list[str] = []
    candidate = trained(settings(source=source), said)
    assert candidate.environment.action_mask == source
    assert len([sentence for sentence in said if "mask" in sentence]) == 1


def test_a_mask_that_is_stacked_is_said_to_be_only_observed() -> None:
    """With the way to have it obeyed; nothing is said where masks are to be ignored, or where there is none."""
    stacked = settings(source="observation", frame_stack=2, action_masks="auto")
    environment = environment_for(stacked)
    assert environment.action_mask is None
    assert "has the shape [2, 12]" in describe_masks(environment)
    assert not describe_masks(environment_for(settings(source="none")))


def test_masks_can_be_ignored() -> None:
    """Without them the environment gets a forbidden action."""
    config = settings(action_masks="off")
    assert environment_for(config).action_mask is None
    with pytest.raises(
        FaultyEnvironmentError, match=r'is not allowed in state .* in info\["action_mask"\] or by a method'
    ):
        trained(config)


def test_an_environment_without_masks_is_described_without() -> None:
    """An info with None for a mask has none."""
    assert describe("CartPole-v1", {}).action_mask is None
    assert describe(MASKED, {"source": "none"}).action_mask is None
    assert describe("tests.training.space_environments:Spaced-v0", {"observes": "nested"}).action_mask is None


@pytest.mark.parametrize("form", ["tuple", "flat"])
def test_masks_of_components_become_one_of_joint_actions(form: str) -> None:
    """Gymnasium's tuple and sb3-contrib's row of all components allow the same joint actions."""
    environments = make_vector_environment(describe(PARTS, {"form": form}), 2, "sync")
    _, info = environments.reset(seed=0)
    expected = np.outer([0, 1, 0], [1, 0, 1, 0]).astype(bool).ravel()
    assert info["action_mask"].tolist() == [expected.tolist()] * 2
    environments.close()


@pytest.mark.parametrize("source", ["info", "method"])
@pytest.mark.parametrize("form", ["joint", "joined"])
def test_a_row_of_masks_that_could_mean_two_things_is_refused(source: str, form: str) -> None:
    """Before a step is taken, with the form that is clear."""
    words = (
        r"gave an action mask of shape \[4\], which may have .* in reset; expected a tuple with one mask for each of "
        r"the 2 components of an action\. --action-masks off ignores"
    )
    with pytest.raises(FaultyEnvironmentError, match=words):
        trained(settings(PAIR, env_kwargs={"source": source, "form": form}))


@pytest.mark.parametrize("source", ["info", "method", "observation"])
def test_a_clear_mask_of_two_components_of_two_values_is_obeyed(source: str) -> None:
    """A tuple, or the member of an observation that has an element for each joint action."""
    environment = describe(PAIR, {"source": source})
    assert environment.action_mask == source
    assert Evaluator(environment, 4, 100).play(None, 0, 20).returns.min() >= 0


def test_a_reset_that_fails_as_masks_are_looked_for_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a later one would do: otherwise the masks of such an environment would be missed."""
    late = importlib.import_module(MODULE).Late
    monkeypatch.setattr(late, "failures", 1)
    with pytest.raises(FaultyEnvironmentError, match=r"Late-v0 failed in reset: TimeoutError .* is still starting"):
        describe(f"{MODULE}:Late-v0", {})
    assert describe(f"{MODULE}:Late-v0", {}).action_mask == "info"


def test_joint_masks_are_learned_with() -> None:
    """The best joint action among those allowed is found."""
    candidate = trained(settings(PARTS, total_env_steps=1_500, gamma=0.0, n_step=1))
    assert candidate.best.mean == 10.0


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            "length",
            r"returned an action mask of shape \[11\] in step 2 of an episode; expected 12 booleans, or 0s and 1s\.",
        ),
        ("text", "returned an action mask of dtype <U"),
        ("values", "returned an action mask that contains 2"),
        ("ragged", "returned an action mask that is not an array"),
        ("none", r"returned an action mask of shape \[\]"),
        ("missing", "returned no action_mask in its info, unlike in its first reset, in step 2"),
        ("exception", "failed in step 2 of an episode: RuntimeError at mask_environments.py"),
    ],
)
@pytest.mark.parametrize("source", ["info", "method"])
def test_a_wrong_mask_is_named(source: str, fault: str, words: str) -> None:
    """The sentence names the environment, what is wrong and the step."""
    if (source, fault) == ("method", "missing"):
        pytest.skip("a method always answers")
    environment = describe(MASKED, {"source": source, "fault": fault})
    with pytest.raises(FaultyEnvironmentError, match=f"^{MASKED} {words}"):
        Evaluator(environment, 4, 100).play(None, 0, 3)


@pytest.mark.parametrize("source", ["info", "method", "observation"])
def test_processes_give_the_same_masks(source: str) -> None:
    """Serially and in processes, through resets, each state has its own mask."""
    environment = describe(MASKED, {"source": source})
    seen = []
    for mode in ("sync", "async"):
        environments = make_vector_environment(environment, 3, mode)
        _, info = environments.reset(seed=7)
        masks = [info["action_mask"]]
        for _ in range(15):
            allowed = masks[-1] | ~masks[-1].any(axis=1, keepdims=True)
            answer = environments.step(environment.action_space.action(allowed.argmax(axis=1)))
            masks.append(answer[4]["action_mask"])
        seen.append(np.array(masks))
        environments.close()
    assert (seen[0] == seen[1]).all()
    assert seen[0].sum(axis=2).min() == 0, "at the end of an episode nothing is allowed"


@pytest.mark.parametrize("others", [{}, {"algorithm": "pqn", "rollout_steps": 16}], ids=["dqn", "pqn"])
def test_a_resumed_run_keeps_its_masks(others: dict[str, Any], tmp_path: Path) -> None:
    """A run that continues from a checkpoint takes the same steps as an uninterrupted one."""
    config = dataclasses.replace(settings(**others), total_env_steps=600)
    environment = environment_for(config)
    whole, half, again = (make_state(config, environment, None) for _ in range(3))
    for _ in train(config, environment, whole):
        pass
    for _ in itertools.islice(train(config, environment, half), 75):
        pass
    file = CheckpointFile(tmp_path / "checkpoint")
    file.write(half.state_dict())
    file.settle()
    last = CheckpointFile(file.path).read()
    assert last is not None
    assert again.resume(last)
    for _ in train(config, environment, again):
        pass
    assert again.episodes == whole.episodes
    assert (again.agent.parameters == whole.agent.parameters).all()


def test_targets_take_the_best_allowed_action_of_the_next_state() -> None:
    """Replay gives each transition the mask of its next observation; one that allows nothing ends the return."""
    replay = ReplayBuffer(40, 2, (), np.dtype(np.float32), DiscreteSpace(n=10), 1, 0.5, masked=True)
    here, never = np.arange(2.0, dtype=np.float32), np.zeros(2, bool)
    masks = np.zeros((8, 2, 10), bool)
    masks[:, 0] = np.arange(10) == np.arange(8)[:, None]
    for mask in masks:
        replay.add(here, never.astype(np.int64), np.ones(2), never, never, here + 1, ~never, mask)
    batch = replay.sample(16, np.random.default_rng(0))
    assert batch.next_masks is not None
    first = batch.observations == 0
    assert (batch.next_masks[first] == masks[batch.rows[first] // 2, 0]).all()
    assert batch.discounts.tolist() == np.where(first, 0.5, 0).tolist()
    assert batch.next_masks[~first].all()


def test_the_choice_among_allowed_actions() -> None:
    """The first of the best ones is greedy, every allowed one is drawn equally often, and no other ever is."""
    q_values = np.array([[9.0, 1.0, 2.0, 2.0]], np.float32).repeat(3, axis=0)
    masks = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [0, 1, 0, 0]], bool)
    assert DiscreteSpace(n=4).best(q_values, masks).tolist() == [0, 2, 1]
    drawn = sample_allowed(masks[1:2].repeat(3_000, axis=0), np.arange(3_000) / 3_000)
    assert np.bincount(drawn).tolist() == [0, 1_000, 1_000, 1_000]
    assert joint_mask([np.array([False, True]), np.array([True, False, True])]).tolist() == [0, 0, 0, 1, 0, 1]


def test_an_exported_policy_chooses_among_allowed_actions() -> None:
    """Playing a file chooses by its Q-values, and a video of it also obeys the masks."""
    candidate = trained(settings())
    policy, actions = Policy(candidate.onnx), candidate.environment.action_space
    states, masks = np.eye(12, dtype=np.float32), np.eye(12, dtype=bool)[::-1]
    assert policy.choose(states, masks, actions).tolist() == list(range(11, -1, -1))
    q_values, _ = policy.run(states)
    assert (policy.choose(states, ~masks, actions) == np.where(masks, -np.inf, q_values).argmax(axis=1)).all()
    renderer = EpisodeRenderer(candidate.environment)
    assert len(list(renderer.frames(policy, 0, 3, 100))) == 3 * 7
    renderer.close()
