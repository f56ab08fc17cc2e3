"""A run that is captured and restored goes on to the last bit as it would have, whatever it learns with."""

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from training.captures import Ring
from training.config import DQNConfig
from training.experience.environments import environment_for
from training.learning.loop import train
from training.learning.state import TrainingState, make_state

SMALL: dict[str, Any] = {"hidden_sizes": (16,), "num_envs": 4, "learning_starts": 100, "batch_size": 32}
FAMILY: dict[str, dict[str, Any]] = {
    "plain": {},
    "prioritized": {"prioritized": True},
    "noisy": {"noisy": True},
    "rainbow": {"prioritized": True, "noisy": True, "dueling": True, "distribution": "c51", "atoms": 11},
    "quantile": {"distribution": "quantile", "atoms": 5},
    "pqn": {"algorithm": "pqn", "rollout_steps": 30},
}


def steps(config: DQNConfig, state: TrainingState, count: int) -> None:
    """Trains for so many time steps."""
    environment = environment_for(config)
    for _, _ in zip(range(count), train(config, environment, state), strict=False):
        pass


def arrays(value: Any) -> Any:
    """A capture as it comes back from a file: a Ring as its array, nothing shared with the run."""
    if isinstance(value, Ring):
        return value.array.copy()
    if isinstance(value, dict):
        return {name: arrays(part) for name, part in value.items()}
    return copy.deepcopy(value)


@pytest.mark.parametrize("member", FAMILY)
def test_every_member_of_the_family_resumes_to_the_last_bit(member: str) -> None:
    """Captured in the middle (of a rollout, too), a second run ends with the weights and the replay of the first."""
    config = dataclasses.replace(DQNConfig(**SMALL), **FAMILY[member])
    environment = environment_for(config)
    first, second = make_state(config, environment, None), make_state(config, environment, None)
    steps(config, first, 100)
    assert first.agent.gradient_steps > 0
    second.restore(arrays(first.capture()))
    for state in (first, second):
        torch.manual_seed(0)
        steps(config, state, 100)
    assert first.env_steps == second.env_steps
    assert torch.equal(first.agent.parameters.data, second.agent.parameters.data)
    assert torch.equal(first.agent.target_parameters, second.agent.target_parameters)
    np.testing.assert_array_equal(first.replay.seen(), second.replay.seen())
    first.close()
    second.close()
