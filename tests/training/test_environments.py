"""Environments: which ones a DQN policy can play, and which are refused."""

from typing import Any

import numpy as np
import pytest

from dqn_models.spaces import BoxSpace, DiscreteSpace
from dqn_training.config import Vectorization
from dqn_training.envs.make import describe
from dqn_training.envs.vector import (
    available_cores,
    make_vector_environment,
    processes_pay_off,
    vectorization_of,
)
from dqn_training.presets import default_model_name

COUNTDOWN = "tests.training.environments:Countdown-v0"


def test_cartpole_is_described_for_the_manifest() -> None:
    """The description has the spaces, limits and threshold that Gymnasium declares."""
    found = describe("CartPole-v1", {})
    assert isinstance(found.observation_space, BoxSpace)
    assert (found.observation_space.shape, found.action_space.n) == ([4], 2)
    assert (found.max_episode_steps, found.reward_threshold) == (500, 475.0)


def test_discrete_spaces_keep_their_start() -> None:
    """A Discrete space's start is part of its description, for observations and actions."""
    found = describe(COUNTDOWN, {"space": "discrete"})
    assert found.observation_space == DiscreteSpace(n=4, start=10)
    assert found.action_space == DiscreteSpace(n=3, start=5)


@pytest.mark.parametrize(
    ("env_id", "kwargs", "words"),
    [
        ("Nope-v7", {}, ["env_id is 'Nope-v7'"]),
        ("Nope-v7", {}, ["as in my_module:Nope-v7"]),
        ("nomodule:X-v0", {}, ["nomodule", "searched for in the working directory"]),
        ("my_env.py:X-v0", {}, ["module before the colon, not its file: my_env:X-v0."]),
        ("envs/my_env.py:X-v0", {}, ["module before the colon, not its file: envs.my_env:X-v0."]),
        (
            "tests.training.environments:NoSeed",
            {},
            ["add gymnasium.register('NoSeed-v0', 'tests.training.environments:NoSeed') to tests.training"],
        ),
        ("tests.training.environments:Other-v3", {}, ["add gymnasium.register('Other-v3', 'tests"]),
        ("Pendulum-v1", {}, ["action space", "Box", "--discretize 5"]),
        ("CartPole-v1", {"wheels": 4}, ["env_kwargs", "wheels", "--env-kwargs takes a JSON object"]),
    ],
)
def test_what_cannot_be_played_is_refused_with_a_sentence(
    env_id: str, kwargs: dict[str, Any], words: list[str]
) -> None:
    """The sentence names the environment or argument, and the space that does not fit."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        describe(env_id, kwargs)
    assert all(word in str(caught.value) for word in words)


def test_native_is_refused_if_there_is_none() -> None:
    """Asking for a native vector version that does not exist names the alternatives."""
    countdown = describe(COUNTDOWN, {})
    with pytest.raises(ValueError, match="has no vector version; use auto, sync or async"):
        make_vector_environment(countdown, 2, "native")


@pytest.mark.parametrize(
    ("num_envs", "asked", "chosen"), [(1, "auto", "sync"), (2, "auto", "native"), (1, "native", "native")]
)
def test_one_environment_is_stepped_by_itself(num_envs: int, asked: Vectorization, chosen: Vectorization) -> None:
    """A native vector version is meant for several environments; on request it also steps a single one."""
    environments = make_vector_environment(describe("CartPole-v1", {}), num_envs, asked)
    assert vectorization_of(environments) == chosen
    environments.close()


def test_sync_and_async_take_the_same_trajectories() -> None:
    """So the choice between them, which depends on the machine's speed, changes no result."""
    acrobot = describe("Acrobot-v1", {})
    seen = []
    for mode in ("sync", "async"):
        environments = make_vector_environment(acrobot, 3, mode)
        generator, steps = np.random.default_rng(0), [environments.reset(seed=5)[0].copy()]
        for _ in range(600):  # beyond the first resets, at 500 steps
            observations, rewards, *ends, _ = environments.step(generator.integers(0, 3, 3))
            steps.append(np.hstack([observations, rewards[:, None], *(end[:, None] for end in ends)]))
        environments.close()
        seen.append(np.hstack(steps[1:]))
    assert (seen[0] == seen[1]).all()


def test_processes_are_chosen_for_slow_steps_only() -> None:
    """With two cores, steps of milliseconds are worth messages between processes, steps of microseconds are not."""
    assert not processes_pay_off(20e-6, 16)
    assert processes_pay_off(10e-3, 16) == (available_cores() > 1)
    assert not processes_pay_off(10e-3, 1)


def test_all_cores_count_if_the_system_does_not_say_which_are_available(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choosing a vectorization works without `sched_getaffinity`, which macOS does not have."""
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert available_cores() == 3
    assert processes_pay_off(10e-3, 16)


@pytest.mark.parametrize(
    ("env_id", "name"),
    [("CartPole-v1", "cartpole"), ("ALE/Breakout-v5", "ale-breakout"), ("my.module:Plant_2-v0", "plant_2")],
)
def test_models_are_named_after_their_environment(env_id: str, name: str) -> None:
    """The default name is the environment's without module and version, in lowercase."""
    assert default_model_name(env_id) == name
