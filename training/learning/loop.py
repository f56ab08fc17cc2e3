"""The training loop: acts, remembers, learns; whoever iterates over it watches, evaluates and decides when to stop."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.manifest import EnvironmentInfo
from training.config import DQNConfig
from training.experience.environments import make_vector_environment, observation_dtype, observation_shape
from training.experience.replay import ReplayBuffer
from training.experience.schedules import epsilon_schedule, learning_rate_schedule
from training.learning.agent import DQNAgent
from training.learning.networks import make_q_network
from training.seeds import first_seed


class Episode(NamedTuple):
    """A finished training episode."""

    env_steps: int  # taken by all environments when it ended
    total_reward: float
    length: int


@dataclasses.dataclass
class TrainingState:
    """Where a run is; the loop updates it in place."""

    agent: DQNAgent
    replay: ReplayBuffer
    warm: bool  # it began with the weights of an earlier policy
    env_steps: int = 0
    epsilon: float = 1.0
    loss: Tensor | None = None
    episodes: list[Episode] = dataclasses.field(default_factory=list)

    def recent_return(self, count: int = 100) -> float:
        """Mean return of the last `count` training episodes; NaN before the first."""
        recent = self.episodes[-count:]
        return sum(episode.total_reward for episode in recent) / len(recent) if recent else float("nan")


def make_state(config: DQNConfig, environment: EnvironmentInfo, weights: dict[str, Tensor] | None) -> TrainingState:
    """A run before its first step; `weights` (a state dict) are where a warm start begins.

    Raises ValueError when the weights do not fit the network that the configuration describes.
    """
    torch.manual_seed(config.seed)
    q_network = make_q_network(config, environment.observation_space, environment.action_space.n)
    if weights is not None:
        try:
            q_network.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(f"The weights to start from do not fit the network: {error}") from error
    return TrainingState(
        agent=DQNAgent(config, q_network, environment.action_space.n),
        replay=ReplayBuffer(
            config.replay_capacity,
            config.num_envs,
            observation_shape(environment.observation_space),
            observation_dtype(environment.observation_space),
            environment.action_space.n,
            config.n_step,
            config.gamma,
        ),
        warm=weights is not None,
    )


def train(config: DQNConfig, environment: EnvironmentInfo, state: TrainingState) -> Iterator[TrainingState]:
    """Takes one step in every environment at a time and yields the state after each, until the budget is spent."""
    environments = make_vector_environment(config.env_id, config.env_kwargs, config.num_envs, config.vectorization)
    generator = np.random.default_rng(config.seed)
    epsilon_at, learning_rate_at = epsilon_schedule(config, warm=state.warm), learning_rate_schedule(config)
    replay, agent, start = state.replay, state.agent, environment.action_space.start
    returns, lengths = np.zeros(config.num_envs), np.zeros(config.num_envs, np.int64)
    alive = np.ones(config.num_envs, np.bool_)  # False on the step that only resets an environment
    updates_owed = 0.0
    try:
        observations, _ = environments.reset(seed=first_seed("train", config.seed))
        observations = observations.astype(replay.observations.dtype, copy=False)
        while state.env_steps < config.total_env_steps and len(state.episodes) < (config.max_episodes or np.inf):
            state.epsilon = epsilon_at(state.env_steps)
            actions = agent.act(observations, state.epsilon, generator)
            next_observations, rewards, terminated, truncated, _ = environments.step(actions + start)
            next_observations = next_observations.astype(observations.dtype, copy=False)
            replay.add(observations, actions, rewards, terminated, truncated, next_observations)
            observations = next_observations
            taken = int(alive.sum())
            state.env_steps += taken
            returns += rewards
            lengths += alive
            ended = terminated | truncated
            for index in np.flatnonzero(ended):
                state.episodes.append(Episode(state.env_steps, float(returns[index]), int(lengths[index])))
            returns[ended], lengths[ended] = 0.0, 0
            alive = ~ended
            if len(replay) >= max(config.learning_starts, config.batch_size):
                updates_owed += taken / config.train_every
                agent.set_learning_rate(learning_rate_at(state.env_steps))
                while updates_owed >= 1:
                    state.loss = agent.update(replay.sample(config.batch_size, generator))
                    updates_owed -= 1
            yield state
    finally:
        environments.close()
