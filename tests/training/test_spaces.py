"""Every finite space, from the environment through replay, network and graph to a published policy's play."""

import contextlib
import dataclasses
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dqn_models.manifest import EnvironmentInfo, WrapperInfo
from dqn_models.policy import Policy
from dqn_training.checkpoint.store import CheckpointFile
from dqn_training.config import DQNConfig
from dqn_training.envs.checks import FaultyEnvironmentError
from dqn_training.envs.make import describe, environment_for, make_described, make_environment
from dqn_training.envs.vector import make_vector_environment
from dqn_training.evaluation.play import play
from dqn_training.evaluation.video import EpisodeRenderer
from dqn_training.learning.loop import train
from dqn_training.learning.state import TrainingState, make_state
from dqn_training.run.candidate import Candidate
from dqn_training.run.run import Run

MODULE = "tests.training.space_environments"
SPACED = f"{MODULE}:Spaced-v0"
SHORT: dict[str, Any] = {
    "hidden_sizes": (16,),
    "batch_size": 16,
    "learning_starts": 50,
    "replay_capacity": 400,
    "num_envs": 4,
    "total_env_steps": 400,
    "eval_every": 200,
    "eval_episodes": 3,
    "vectorization": "sync",
}
OBSERVATIONS = ["scalar", "integers", "multidiscrete", "table", "multibinary", "single", "tuple", "nested"]
ACTIONS = ["discrete", "multidiscrete", "multibinary", "box"]


def settings(observes: str = "nested", acts: str = "discrete", **others: Any) -> DQNConfig:
    """A short run on observations and actions of these kinds."""
    divided = 3 if acts == "box" else None
    kwargs = {"observes": observes, "acts": acts}
    return DQNConfig(**{**SHORT, "env_id": SPACED, "env_kwargs": kwargs, "discretize": divided, **others})


def trained(config: DQNConfig, said: list[str] | None = None) -> Candidate:
    """The candidate of a run, whose export was checked against its network."""
    say = (lambda _: None) if said is None else said.append
    return Run(config, "general", environment_for(config), say=say).train()


@pytest.mark.slow
@pytest.mark.parametrize("observes", OBSERVATIONS)
def test_a_policy_is_trained_for_every_kind_of_observation(observes: str) -> None:
    """Training, export with parity, and play with the exported file all work, and observations are described."""
    candidate = trained(settings(observes))
    space = candidate.environment.observation_space
    assert [value.name for value in candidate.policy.inputs] == [leaf.input_name for leaf in space.leaves]
    assert candidate.policy.observation_dtype == np.zeros(0, space.row_dtype).dtype
    assert len(candidate.observations.mean) == space.described_elements
    assert space.flatten(space.example(candidate.observations.mean)).shape == space.tensor_shape
    assert candidate.best.mean > 0


@pytest.mark.slow
@pytest.mark.parametrize("acts", ACTIONS)
def test_actions_are_learned_by_index_and_played_in_the_environment_s_own_form(acts: str) -> None:
    """The environment refuses any other form; with gamma 0 the best joint action is found, and the graph answers it."""
    config = settings("scalar", acts, gamma=0.0, n_step=1, total_env_steps=4_000, learning_rate=0.01, num_envs=8)
    config = dataclasses.replace(config, epsilon_decay_steps=2_000, eval_every=1_000, replay_capacity=2_000)
    candidate = trained(config)
    space = candidate.environment.action_space
    best = max(float(np.sum(space.action(index))) for index in range(space.n))
    assert candidate.best.mean == pytest.approx(6 * best)
    assert candidate.policy.n_actions == space.n
    assert candidate.policy.action_dtype == space.action_dtype


FAMILY: list[dict[str, Any]] = [
    {"dueling": True, "distribution": "c51", "prioritized": True},
    {"noisy": True},
    {"algorithm": "pqn", "rollout_steps": 8, "policy_weights": "learned"},
    {"network": "mlp", "layer_norm": False},
    {"frame_stack": 3},
    {"vectorization": "async", "num_envs": 2},
]


@pytest.mark.slow
@pytest.mark.parametrize("others", FAMILY, ids=lambda others: next(iter(others)))
@pytest.mark.parametrize("observes", ["nested", "tuple"])
def test_several_leaves_work_with_every_algorithm(observes: str, others: dict[str, Any]) -> None:
    """Each member of the family learns from observations of several leaves and exports what it learned."""
    assert trained(settings(observes, "multidiscrete", **others)).gradient_steps > 10


def test_parts_that_no_network_reads_are_left_out_and_named() -> None:
    """The manifest lists them, the run says so once, and the graph has no input for them."""
    said: list[str] = []
    environment = trained(settings("nested"), said).environment
    assert environment.left_out == ["mission", "objects"]
    assert len([sentence for sentence in said if "mission, objects" in sentence]) == 1
    again = describe(SPACED, {"observes": "tuple"}).observation_space
    assert [leaf.name for leaf in again.leaves] == ["1", "2"], "the places of a Tuple's other members stay"


def fresh(config: DQNConfig) -> TrainingState:
    """A run before its first step."""
    return make_state(config, environment_for(config), None)


def steps(config: DQNConfig, state: TrainingState, count: int) -> None:
    """Takes this many steps."""
    for _ in itertools.islice(train(config, environment_for(config), state), count):
        pass


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("observes", ["nested", "tuple", "multibinary"])
def test_a_resumed_run_equals_an_uninterrupted_one(observes: str, frames: int, tmp_path: Path) -> None:
    """Rows of several leaves come back from a checkpoint as they were, stacked or not, also from a full buffer."""
    capacity = 3_000 if frames == 1 else 300
    config = settings(observes, "multibinary", replay_capacity=capacity, total_env_steps=10_000, frame_stack=frames)
    config = dataclasses.replace(config, normalize=frames > 1)
    whole, first, second = fresh(config), fresh(config), fresh(config)
    steps(config, whole, 120)
    steps(config, first, 60)
    file = CheckpointFile(tmp_path / "checkpoint")
    file.write(first.state_dict())
    file.settle()
    last = CheckpointFile(file.path).read()
    assert last is not None
    assert second.resume(last)
    steps(config, second, 60)
    assert (whole.agent.parameters == second.agent.parameters).all()
    assert (whole.replay.observations() == second.replay.observations()).all()
    assert second.replay.observations().dtype == whole.observations.dtype


@pytest.mark.parametrize("observes", OBSERVATIONS)
def test_sync_and_async_take_the_same_trajectories(observes: str) -> None:
    """Whatever the space, rows that come from processes are the rows of environments stepped one after another."""
    environment = describe(SPACED, {"observes": observes, "acts": "multibinary"})
    seen = []
    for mode in ("sync", "async"):
        environments = make_vector_environment(environment, 2, mode)
        rows = [environments.reset(seed=5)[0].copy()]
        actions = environment.action_space.action(np.random.default_rng(0).integers(0, 16, (20, 2)))
        rows += [environments.step(each)[0].copy() for each in actions]
        environments.close()
        seen.append(np.stack(rows))
    assert seen[0].dtype == seen[1].dtype == np.zeros(0, environment.observation_space.row_dtype).dtype
    assert (seen[0] == seen[1]).all()


@pytest.mark.parametrize(
    ("fault", "observes", "sentence"),
    [
        ("missing", "nested", "returned an observation without 'goal.position' in reset"),
        ("nan", "nested", "returned a value of 'goal.position' with nan in it in reset"),
        ("outside", "nested", "value of 'hands' outside of MultiDiscrete"),
    ],
)
def test_a_wrong_leaf_is_named(fault: str, observes: str, sentence: str) -> None:
    """The sentence says which part of an observation is wrong, and when."""
    environment = make_environment(SPACED, {"fault": fault, "observes": observes})
    with pytest.raises(FaultyEnvironmentError, match=re.escape(sentence)):
        environment.reset(seed=0)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_box_of_integers_may_give_floats(mode: Any) -> None:
    """They reach the network unchanged, not truncated."""
    environments = make_vector_environment(describe(SPACED, {"observes": "integers", "fault": "float"}), 1, mode)
    observations, _ = environments.reset(seed=0)
    environments.close()
    assert (observations % 1 == 0.25).all()


@pytest.mark.parametrize(
    ("env_id", "kwargs", "remedy"),
    [
        (SPACED, {"acts": "box"}, "--discretize 5"),
        (SPACED, {"acts": "unbounded"}, "--wrapper 'BoundedAction="),
        (SPACED, {"acts": "tuple"}, "--wrapper my_module:MyWrapper"),
        (f"{MODULE}:Blind-v0", {}, "which a network cannot read"),
    ],
)
def test_a_space_that_no_policy_can_have_is_refused_with_a_remedy(
    env_id: str, kwargs: dict[str, Any], remedy: str
) -> None:
    """The sentence names the space and what to do about it."""
    with pytest.raises(ValueError, match=r"space") as caught:
        describe(env_id, kwargs)
    assert remedy in str(caught.value)


@pytest.mark.parametrize("acts", ["three", "six", "twelve", "thirteen", "unbounded", "half"])
def test_the_flags_that_a_refusal_of_continuous_actions_names_are_accepted(acts: str) -> None:
    """With exactly these flags, the environment can be played."""
    flags: dict[str, Any] = {}
    for _ in range(2 if acts in ("unbounded", "half") else 1):
        with pytest.raises(ValueError, match="--") as refused:
            environment_for(settings(acts=acts, **flags))
        if wrapper := re.search(r"--wrapper '(.*?)'", str(refused.value)):
            flags["wrapper"] = (wrapper[1],)
        if values := re.search(r"--discretize (\d+)", str(refused.value)):
            flags["discretize"] = int(values[1])
    described = environment_for(settings(acts=acts, **flags))
    actions = described.action_space
    with contextlib.closing(make_described(described)) as environment:
        environment.reset(seed=0)
        for action in actions.action(actions.random(np.random.default_rng(0), 2)):
            environment.step(action)


def test_wrappers_are_recorded_and_applied_again() -> None:
    """By their name in gymnasium.wrappers or with their module, and arguments as JSON, innermost first."""
    config = settings(
        "nested", wrapper=(f'{MODULE}:AddOne={{"amount": 10}}', 'TimeLimit={"max_episode_steps": 2}'), frame_stack=2
    )
    environment = environment_for(config)
    assert environment.wrappers == [
        WrapperInfo(name=f"{MODULE}:AddOne", kwargs={"amount": 10}),
        WrapperInfo(name="TimeLimit", kwargs={"max_episode_steps": 2}),
        WrapperInfo(name="FrameStackObservation", kwargs={"stack_size": 2}),
    ]
    again = EnvironmentInfo.model_validate_json(environment.model_dump_json())
    made = make_environment(again.id, again.kwargs, again.wrappers)
    made.reset(seed=0)
    rewards, truncations = zip(*(made.step(5)[1:4:2] for _ in range(2)), strict=True)
    assert (rewards, truncations) == ((15.0, 15.0), (False, True))


@pytest.mark.parametrize(
    ("wrapper", "words"),
    [
        ("FlattenObservatio", "Did you mean FlattenObservation?"),
        ("TimeLimit=5", "arguments as a JSON object"),
        ("nomodule:X", "cannot be imported"),
        (f"{MODULE}:Nope", "has no Nope"),
        ("TransformReward", "cannot wrap"),
        ('TimeLimit={"max_episode_steps": 2, "x": 1}', "cannot wrap"),
    ],
)
def test_a_wrapper_that_cannot_be_applied_is_refused(wrapper: str, words: str) -> None:
    """The sentence names it and says what is wrong."""
    with pytest.raises(ValueError, match="wrapper") as caught:
        environment_for(settings(wrapper=(wrapper,)))
    assert words in str(caught.value)


def test_rewards_of_several_numbers_are_weighted() -> None:
    """Without weights the sentence shows the flag; with them the sum is learned and played, and recorded."""
    kwargs = {"observes": "scalar", "rewards": 2}
    with pytest.raises(FaultyEnvironmentError, match="--reward-weights 1 1"):
        trained(dataclasses.replace(settings(), env_kwargs=kwargs))
    config = dataclasses.replace(settings(reward_weights=(0.5, 2.0)), env_kwargs=kwargs)
    candidate = trained(config)
    episodes = play(candidate.policy, candidate.environment, 0, 2, 100)
    assert set(episodes.returns % 2.5) == {0.0}, "each reward counts 0.5 + 2 times"


def test_blackjack_is_played_and_recorded_without_flags() -> None:
    """Gymnasium's own environment with a Tuple needs no flag anywhere."""
    candidate = trained(DQNConfig(**{**SHORT, "env_id": "Blackjack-v1"}))
    assert [value.name for value in candidate.policy.inputs] == ["observation.0", "observation.1", "observation.2"]
    renderer = EpisodeRenderer(candidate.environment)
    try:
        assert len(list(renderer.frames(Policy(candidate.onnx), 0, 1, 5))) > 1
    finally:
        renderer.close()
