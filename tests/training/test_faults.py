"""Environments that misbehave: the run ends with a sentence that names the environment and the step."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from dqn_models.policy import Policy
from dqn_testing.commands import run
from dqn_testing.repositories import linear_onnx
from dqn_training.config import DQNConfig, Vectorization
from dqn_training.envs.checks import FaultyEnvironmentError
from dqn_training.envs.make import describe, environment_for
from dqn_training.envs.vector import AnyVectorEnv, make_vector_environment
from dqn_training.evaluation.play import play

FAULTY = "tests.training.environments:Faulty-v0"
IN_STEP = (
    "in step 2 of an episode"  # the seventh step: the first episode has five, so this is the second of the next one
)

FAULTS = [
    ("nan reward", "box", "returned the reward nan"),
    ("no reward", "box", "returned the reward None"),
    ("rewards", "box", "returned the reward [1. 1.]"),
    ("nan", "box", "an observation with nan in it"),
    ("huge", "box", "an observation with -1e+40 in it, beyond 3.4e+38, the largest float32,"),
    ("huge reward", "box", "returned the reward 1e+40"),
    ("shape", "box", "an observation of shape [3], not [2],"),
    ("text", "box", "an observation of dtype <U1, not float64,"),
    ("fractions", "image", "an observation of dtype float64, not uint8,"),
    ("too large", "image", "an observation outside of Box(0, 255"),
    ("outside", "discrete", "an observation outside of Discrete(4"),
    ("four", "box", "not enough values to unpack (expected 5, got 4)"),
    ("exception", "box", "failed in step 2 of an episode: LookupError at environments.py:"),
]


@pytest.mark.parametrize(("fault", "space", "words"), FAULTS)
def test_a_fault_is_named_with_its_step(fault: str, space: str, words: str) -> None:
    """Whatever is wrong with a step, the error names the environment, the step and the wrong value."""
    sentence = play_until_fault(fault, space, "sync")
    assert sentence.startswith(FAULTY)
    assert words in sentence
    assert IN_STEP in sentence


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("exception", "failed in step 3 of 2 environments: LookupError at environments.py:"),
        ("reward", "returned the reward inf in step 3 of 2 environments."),
        ("nan", "returned an observation with nan in it in step 3 of 2 environments."),
        ("shape", "returned observations of shape [2, 3], not [2, 4], in step 3 of 2 environments."),
    ],
)
def test_a_fault_of_a_vector_version_is_named(fault: str, words: str) -> None:
    """An environment's own vector version is checked as well."""
    env_id = "tests.training.environments:FaultyVector-v0"
    environments = make_vector_environment(describe(env_id, {"fault": fault}), 2, "native")
    environments.reset(seed=1)
    with pytest.raises(FaultyEnvironmentError) as caught:
        _ = [environments.step(np.array([0, 1])) for _ in range(5)]
    assert words in str(caught.value)


@pytest.mark.parametrize("fault", ["nan", "exception", "huge"])
def test_a_fault_in_a_process_is_the_same_sentence(fault: str) -> None:
    """An error of an environment in its own process is reported as if it were in ours, without its traceback."""
    assert play_until_fault(fault, "box", "async") == play_until_fault(fault, "box", "sync")


@pytest.mark.parametrize("fault", ["nan", "huge", "huge reward"])
def test_evaluation_says_the_same_as_training(fault: str) -> None:
    """An observation that a policy cannot take also ends an evaluation at that step, instead of a meaningless mean."""
    with pytest.raises(FaultyEnvironmentError) as caught:
        play(Policy(linear_onnx(np.zeros((2, 3)))), describe(FAULTY, {"fault": fault}), 1, 40, 100)  # 32 play at a time
    assert str(caught.value) == play_until_fault(fault, "box", "sync")


def test_a_process_that_dies_is_named() -> None:
    """If an environment's process is killed, the run ends at once, and so do the other processes."""
    assert play_until_fault("death", "box", "async") == f"A process of {FAULTY} died in step 8 of 2 environments."


@pytest.mark.parametrize(
    ("env_id", "fault", "words"),
    [
        (FAULTY, "reset", "returned one ndarray from reset; expected (observation, info)"),
        ("tests.training.environments:NoSeed-v0", None, "argument 'seed'. Gymnasium passes seed and options"),
    ],
)
def test_a_wrong_reset_is_named(env_id: str, fault: str | None, words: str) -> None:
    """A reset that takes no seed or returns no info is reported as such, with masks looked for before or not."""
    kwargs = {"fault": fault} if fault else {}
    with pytest.raises(FaultyEnvironmentError) as described:
        describe(env_id, kwargs)
    environments = make_vector_environment(describe(env_id, kwargs, masked=False), 2, "sync")
    with pytest.raises(FaultyEnvironmentError) as caught:
        environments.reset(seed=1)
    assert words in str(caught.value)
    assert str(described.value) == str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "mode", "words"),
    [
        ("exception", "sync", f"error: {FAULTY} failed in step 2 of an episode: LookupError"),
        ("death", "async", f"error: A process of {FAULTY} died in step 8"),
        ("constructor", "auto", f"error: {FAULTY} failed in its constructor: RuntimeError"),
    ],
)
def test_the_command_ends_with_one_sentence(fault: str, mode: str, words: str, tmp_path: Path) -> None:
    """Exit status 1, the sentence with the steps taken so far, and no traceback."""
    kwargs, run_dir = f'{{"fault": "{fault}"}}', tmp_path / "run"
    done = run("dqn-train", "--env-id", FAULTY, "--env-kwargs", kwargs, "--vectorization", mode, "--num-envs", 2,
               "--repository", tmp_path, "--run-dir", run_dir, "--checkpoint-seconds", 1e-4)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(words)
    assert "Traceback" not in done.stderr
    assert not [path for path in tmp_path.iterdir() if path != run_dir], "an empty directory of the model"
    if fault != "constructor":
        assert "Training ended after 12 environment steps; nothing was published." in done.stderr
        assert done.stderr.endswith(f"The checkpoint is kept. Resume it with: dqn-train --resume {run_dir}\n")


def play_until_fault(fault: str, space: str, mode: Vectorization) -> str:
    """Plays the faulty environment until it fails; returns the error's sentence."""
    config = dataclasses.replace(DQNConfig(), env_id=FAULTY, env_kwargs={"fault": fault, "space": space})
    environments = make_vector_environment(environment_for(config), 2, mode)
    try:
        with pytest.raises(FaultyEnvironmentError) as caught:
            _play(environments)
    finally:
        environments.close()
    return str(caught.value)


def _play(environments: AnyVectorEnv) -> None:
    environments.reset(seed=1)
    for _ in range(100):
        environments.step(np.array([5, 6]))
