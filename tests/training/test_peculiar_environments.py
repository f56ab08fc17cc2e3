"""Environments that are particular about actions, images and masks: all ways of playing them agree."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dqn_models.manifest import EnvironmentInfo, WrapperInfo
from dqn_models.policy import Policy
from dqn_testing.repositories import linear_onnx
from dqn_training.config import DQNConfig, Vectorization
from dqn_training.envs.checks import FaultyEnvironmentError
from dqn_training.envs.make import describe
from dqn_training.envs.vector import step_seconds
from dqn_training.evaluation.play import play
from dqn_training.evaluation.video import EpisodeRenderer
from dqn_training.learning.loop import train
from dqn_training.learning.state import make_state
from dqn_training.run.callbacks import Callback
from dqn_training.run.run import Run

MODULE = "tests.training.peculiar_environments"
PECULIAR = f"{MODULE}:Peculiar-v0"
HINT = "For an environment that requires int, use --wrapper PlainAction."


def policy() -> Policy:
    """Any."""
    return Policy(linear_onnx(np.zeros((2, 3), np.float32)))


def step(environment: EnvironmentInfo, vectorization: Vectorization) -> None:
    """Takes a step as training does."""
    config = DQNConfig(env_id=environment.id, num_envs=2, vectorization=vectorization)
    state = make_state(config, environment, None)
    try:
        next(train(config, environment, state))
    finally:
        state.close()


def film(environment: EnvironmentInfo) -> list[Any]:
    """Records an episode."""
    renderer = EpisodeRenderer(environment)
    try:
        return list(renderer.frames(policy(), 0, 1, 10))
    finally:
        renderer.close()


DOORS: dict[str, Callable[[EnvironmentInfo], Any]] = {
    "training": lambda environment: step(environment, "sync"),
    "training in processes": lambda environment: step(environment, "async"),
    "choice of vectorization": step_seconds,
    "evaluation and gate": lambda environment: play(policy(), environment, 0, 2, 10),
    "film": film,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("wants", ["sample", "integer", "item"])
def test_actions_are_of_the_type_that_sample_returns_everywhere(door: str, wants: str) -> None:
    """An environment that runs with `action_space.sample()` works in training, evaluation, video and probe."""
    DOORS[door](describe(PECULIAR, {"wants": wants}))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("wants", ["int", "json"])
def test_an_environment_that_requires_int_is_refused_everywhere(door: str, wants: str) -> None:
    """In its first step, with a remedy that works."""
    with pytest.raises(FaultyEnvironmentError, match="in step 1 of an episode") as caught:
        DOORS[door](describe(PECULIAR, {"wants": wants}))
    assert HINT in str(caught.value)
    DOORS[door](describe(PECULIAR, {"wants": wants}, [WrapperInfo(name="PlainAction")]))


def test_images_with_transparency_are_recorded() -> None:
    """RGBA, as Matplotlib draws, loses its last channel."""
    pictures = film(describe(PECULIAR, {}))
    assert {picture.shape[2] for picture in pictures} == {3}
    assert (pictures[0][-1, -1] == (250, 0, 0)).all()


def test_an_exception_in_render_is_the_environments() -> None:
    """The sentence names the environment and the place, and does not ask the user to report it."""
    with pytest.raises(FaultyEnvironmentError, match="Peculiar-v0 failed in render: ZeroDivisionError at peculiar"):
        film(describe(PECULIAR, {"picture": "broken"}))


class _Enough(Callback):
    """Ends a run at its first step."""

    def step(self, _state: Any) -> None:
        """By raising an exception."""
        raise StopAsyncIteration


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("masks", [False, True])
def test_masks_are_reported_once(vectorization: Vectorization, masks: bool) -> None:  # noqa: FBT001
    """An environment with `info["action_mask"]` is trained with it, and the run says so."""
    said: list[str] = []
    config = DQNConfig(env_id=PECULIAR, num_envs=2, vectorization=vectorization)
    run = Run(config, "general", describe(PECULIAR, {"masks": masks}), [_Enough()], say=said.append)
    with pytest.raises(StopAsyncIteration):
        run.train()
    assert len([sentence for sentence in said if "action_mask" in sentence]) == masks
