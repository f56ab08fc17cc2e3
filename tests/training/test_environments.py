"""Environments: what a DQN policy can play, and what is refused."""

from typing import Any

import pytest

from models.manifest import BoxSpace, DiscreteSpace
from training.experience.environments import describe, make_vector_environment
from training.presets import default_model_name

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
        ("nomodule:X-v0", {}, ["nomodule"]),
        ("Pendulum-v1", {}, ["action space", "Box", "Discrete"]),
        ("Blackjack-v1", {}, ["observation space", "Tuple"]),
        (COUNTDOWN, {"space": "dict"}, ["observation space", "Dict"]),
        ("CartPole-v1", {"wheels": 4}, ["env_kwargs", "wheels"]),
    ],
)
def test_what_cannot_be_played_is_refused_with_a_sentence(
    env_id: str, kwargs: dict[str, Any], words: list[str]
) -> None:
    """The sentence names the environment or argument, and the space that does not fit."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        describe(env_id, kwargs)
    assert all(word in str(caught.value) for word in words)


def test_native_is_refused_where_there_is_none() -> None:
    """Asking for a native vector version that does not exist names the alternatives."""
    describe(COUNTDOWN, {})
    with pytest.raises(ValueError, match="has no vector version; use auto, sync or async"):
        make_vector_environment(COUNTDOWN, {}, 2, "native")


@pytest.mark.parametrize(
    ("env_id", "name"),
    [("CartPole-v1", "cartpole"), ("ALE/Breakout-v5", "ale-breakout"), ("my.module:Plant_2-v0", "plant_2")],
)
def test_models_are_named_after_their_environment(env_id: str, name: str) -> None:
    """The default name is the environment's without module and version, in small letters."""
    assert default_model_name(env_id) == name
