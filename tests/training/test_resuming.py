"""A run that resumes from its checkpoint is the run that was never interrupted."""

import contextlib
import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dqn_testing.disks import fill, small_file_system
from dqn_training.checkpoint.store import CheckpointFile
from dqn_training.config import DQNConfig
from dqn_training.envs.make import environment_for
from dqn_training.learning.loop import train
from dqn_training.learning.state import TrainingState, make_state
from dqn_training.replay.buffer import ReplayBuffer
from dqn_training.run.checkpoints import Checkpoints
from dqn_training.run.directory import RunDirectory
from dqn_training.run.run import Run

MATCHING = "tests.training.branching_environments:Matching-v0"
SHORT: dict[str, Any] = {
    "hidden_sizes": (16,),
    "batch_size": 16,
    "learning_starts": 100,
    "replay_capacity": 400,
    "num_envs": 4,
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As in a run."""
    torch.set_num_threads(1)


def steps(config: DQNConfig, state: TrainingState, count: int) -> None:
    """Takes this many steps."""
    for _ in itertools.islice(train(config, environment_for(config), state), count):
        pass


def fresh(config: DQNConfig) -> TrainingState:
    """A run before its first step."""
    return make_state(config, environment_for(config), None)


def parts(state: TrainingState) -> list[Any]:
    """The state as one list, without the environments, whose spaces are seeded by the operating system."""
    return flat({**state.state_dict(), "environments": None})


def flat(value: Any) -> list[Any]:
    """Everything in a value, in order, arrays as bytes."""
    if isinstance(value, dict):
        return [item for key in value for item in (key, *flat(value[key]))]
    if isinstance(value, list | tuple):
        return [found for item in value for found in flat(item)]
    if isinstance(value, np.ndarray | torch.Tensor):
        return [np.asarray(value).tobytes()]
    return [repr(value)]


@pytest.mark.parametrize(
    "config",
    [
        DQNConfig("CartPole-v1", **SHORT),
        DQNConfig("CartPole-v1", **SHORT, vectorization="sync", optimizer="adamw-amsgrad", weight_decay=0.01),
        DQNConfig("CartPole-v1", **SHORT, noisy=True, dueling=True, distribution="c51", prioritized=True),
        DQNConfig("FrozenLake-v1", **SHORT, target_update="periodic", policy_weights="learned", target_update_every=7),
        DQNConfig("Acrobot-v1", **SHORT, algorithm="pqn", rollout_steps=7, policy_weights="learned"),
        DQNConfig(MATCHING, **SHORT, prioritized=True, vectorization="sync"),
        DQNConfig(MATCHING, **SHORT, algorithm="pqn", rollout_steps=7, policy_weights="learned", vectorization="sync"),
    ],
    ids=["cartpole", "sync", "rainbow", "frozenlake", "pqn", "branching", "branching-pqn"],
)
def test_a_resumed_run_equals_an_uninterrupted_one(config: DQNConfig, tmp_path: Path) -> None:
    """After 150 steps, a checkpoint, and 150 more in new objects, every part of the state has the same bits."""
    whole, first, second = fresh(config), fresh(config), fresh(config)
    steps(config, whole, 300)
    steps(config, first, 150)
    file = CheckpointFile(tmp_path / "checkpoint")
    file.write(first.state_dict())
    steps(config, first, 3)  # what comes after the checkpoint must not matter
    file.settle()
    torch.manual_seed(999)
    last = CheckpointFile(file.path).read()
    assert last is not None
    assert second.resume(last)
    steps(config, second, 150)
    assert whole.agent.gradient_steps > 100
    assert parts(second) == parts(whole)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_an_environment_that_draws_from_global_generators_repeats_by_seed(mode: Any) -> None:
    """Python's and NumPy's generators are seeded for each run, whatever was drawn before, also in other processes."""
    config = DQNConfig("tests.training.environments:Unseeded-v0", **SHORT, vectorization=mode)
    runs = []
    for run_seed in (7, 7, 8):
        np.random.random(run_seed)  # noqa: NPY002  (what something else drew before)
        state = fresh(dataclasses.replace(config, seed=run_seed))
        with contextlib.closing(state):
            steps(config, state, 30)
            runs.append(state.replay.observations())
    np.testing.assert_array_equal(runs[0], runs[1])
    assert len({row.tobytes() for row in runs[0]}) == len(runs[0]), "each process draws numbers of its own"
    assert runs[2].tobytes() != runs[0].tobytes()


def test_a_resumed_run_continues_the_global_generators(tmp_path: Path) -> None:
    """A run with such an environment, resumed after something else used them, equals the uninterrupted one."""
    config = DQNConfig("tests.training.environments:Unseeded-v0", **SHORT, vectorization="sync")
    whole = fresh(config)
    steps(config, whole, 200)
    expected = parts(whole)
    first = fresh(config)
    steps(config, first, 100)
    file = CheckpointFile(tmp_path / "checkpoint")
    file.write(first.state_dict())
    file.settle()
    last = CheckpointFile(file.path).read()
    assert last is not None
    second = fresh(config)
    assert second.resume(last)
    steps(config, second, 100)
    assert parts(second) == expected


def test_where_environments_cannot_be_captured_new_episodes_begin(tmp_path: Path) -> None:
    """The run says so at its start and after resuming; no transition leads from an old episode into a new one."""
    config = DQNConfig("tests.training.environments:Countdown-v0", **SHORT, vectorization="async", n_step=3)
    said: list[str] = []
    checkpoints = Checkpoints(tmp_path / "checkpoint", 1e-9, said.append)
    with contextlib.closing(fresh(config)) as first:
        checkpoints.restore(first, None)
        assert "Checkpoints cannot include the state of these environments: they run in separate processes" in said[0]
        steps(config, first, 50)
        assert isinstance(first.replay, ReplayBuffer)
        first.replay._observations[first.replay._slot(first.replay.time)] = 77.0  # the newest, of running episodes
        file = CheckpointFile(tmp_path / "checkpoint")
        file.write(first.state_dict())
        file.settle()
        count = len(first.replay)
    with contextlib.closing(fresh(config)) as second:
        checkpoints.restore(second, checkpoints.last())
        assert said[-1] == f"Resumed after {second.env_steps} environment steps with new episodes."
        assert isinstance(second.replay, ReplayBuffer)
        assert len(second.replay) == count
        steps(config, second, 30)
        batch = second.replay.sample(len(second.replay), np.random.default_rng(0))
        assert not (batch.observations == 77).any(), "the running episodes' last observations begin no transition"
        assert second.episodes[-1].length == 4


def test_a_full_disk_stops_no_training(tmp_path: Path) -> None:
    """The user is warned once, the last good checkpoint stays, and new ones follow once there is space again."""
    config = DQNConfig("CartPole-v1", **SHORT)
    said: list[str] = []
    with small_file_system(tmp_path / "disk", 1_000) as disk:
        path = disk / "checkpoint"
        checkpoints = Checkpoints(path, 1e-9, said.append)
        state = fresh(config)

        def keep_until(env_steps: int) -> int:
            while state.env_steps < env_steps:
                steps(config, state, 1)
                checkpoints._due = 0.0
                checkpoints.step(state)
                checkpoints.end(state)
            last = CheckpointFile(path).read()
            assert last is not None
            return int(last["env_steps"])

        good = keep_until(200)
        fill(disk, 0)
        assert keep_until(400) == good
        assert said == [f"Cannot write a checkpoint to {path}: No space left on device. Training continues."]
        (disk / "filler").unlink()
        assert keep_until(600) == state.env_steps


def test_checkpoints_that_cost_much_are_written_less_often(tmp_path: Path) -> None:
    """The next checkpoint is due when the last one amounts to 2 % of the time, if that is later than configured."""
    config = DQNConfig("CartPole-v1", **SHORT)
    checkpoints = Checkpoints(tmp_path / "checkpoint", 1e-9, print)
    state = fresh(config)
    checkpoints.step(state)
    first = checkpoints.cost_seconds
    assert first > 0
    assert checkpoints._due - first >= 50 * first
    assert Checkpoints(tmp_path / "x", 0, print)._due == math.inf


def test_training_time_adds_up(tmp_path: Path) -> None:
    """The wall seconds of a resumed run are those of all its parts."""
    config = DQNConfig("CartPole-v1", **SHORT, total_env_steps=300, eval_episodes=2)
    first = fresh(config)
    steps(config, first, 30)
    first.wall_seconds = 1_000.0
    file = CheckpointFile(tmp_path / "checkpoint")
    file.write(first.state_dict())
    file.settle()
    said: list[str] = []
    run = Run(config, "general", environment_for(config), directory=RunDirectory(tmp_path), say=said.append)
    ended = run.train()
    assert said == [f"Resumed after {first.env_steps} environment steps."]
    assert 1_000 < ended.wall_seconds < 2_000
