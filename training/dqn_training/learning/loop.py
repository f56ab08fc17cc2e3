"""The training loop: acts, stores, learns; whoever iterates over it watches, evaluates and decides when to stop."""

from collections.abc import Iterator

import numpy as np

from dqn_models.manifest import EnvironmentInfo
from dqn_training.config import DQNConfig
from dqn_training.learning.dqn import learn_from_replay
from dqn_training.learning.pqn import learn_from_rollouts
from dqn_training.learning.schedules import epsilon_schedule
from dqn_training.learning.state import Episode, TrainingState
from dqn_training.replay.rollouts import Rollouts


def train(config: DQNConfig, environment: EnvironmentInfo, state: TrainingState) -> Iterator[TrainingState]:
    """Takes one step in every environment at a time and yields the state after each, until the run is finished.

    Between two steps everything that changes is in the state, so that the loop continues from any state.
    """
    epsilon_at = epsilon_schedule(config, warm=state.warm)
    agent, replay, start = state.agent, state.replay, environment.action_space.start
    if isinstance(replay, Rollouts):
        learn = learn_from_rollouts(config, state, replay)
    else:
        learn = learn_from_replay(config, state, replay)
    while not state.finished(config):
        state.epsilon = epsilon_at(state.env_steps)
        actions = agent.act(state.observations, state.epsilon, state.generator)
        next_observations, rewards, terminated, truncated, _ = state.environments.step(actions + start)
        next_observations = next_observations.astype(state.observations.dtype, copy=False)
        learned = np.sign(rewards) if config.clip_rewards else rewards
        replay.add(state.observations, actions, learned, terminated, truncated, next_observations, state.alive)
        state.observations = next_observations
        taken = int(state.alive.sum())
        state.env_steps += taken
        state.returns += rewards
        state.lengths += state.alive
        ended = (terminated | truncated) & state.alive
        for index in np.flatnonzero(ended):
            state.episodes.append(Episode(state.env_steps, float(state.returns[index]), int(state.lengths[index])))
        state.returns[ended], state.lengths[ended] = 0.0, 0
        state.alive = ~ended
        learn(taken)
        yield state
