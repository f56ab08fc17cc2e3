"""The training loop: acts, remembers, learns; whoever iterates over it watches, evaluates and decides when to stop."""

from collections.abc import Iterator

import numpy as np

from models.manifest import EnvironmentInfo
from training.config import DQNConfig
from training.experience.schedules import epsilon_schedule, importance_schedule, learning_rate_schedule
from training.learning.state import Episode, TrainingState


def train(config: DQNConfig, environment: EnvironmentInfo, state: TrainingState) -> Iterator[TrainingState]:
    """Takes one step in every environment at a time and yields the state after each, until the run is finished.

    Between two steps everything that changes is in the state, so that the loop goes on from whatever state it is given.
    """
    epsilon_at, learning_rate_at = epsilon_schedule(config, warm=state.warm), learning_rate_schedule(config)
    importance_at = importance_schedule(config)
    replay, agent, start = state.replay, state.agent, environment.action_space.start
    while not state.finished(config):
        state.epsilon = epsilon_at(state.env_steps)
        actions = agent.act(state.observations, state.epsilon, state.generator)
        next_observations, rewards, terminated, truncated, _ = state.environments.step(actions + start)
        next_observations = next_observations.astype(state.observations.dtype, copy=False)
        learned = np.sign(rewards) if config.clip_rewards else rewards
        replay.add(state.observations, actions, learned, terminated, truncated, next_observations)
        state.observations = next_observations
        taken = int(state.alive.sum())
        state.env_steps += taken
        state.returns += rewards
        state.lengths += state.alive
        ended = terminated | truncated
        for index in np.flatnonzero(ended):
            state.episodes.append(Episode(state.env_steps, float(state.returns[index]), int(state.lengths[index])))
        state.returns[ended], state.lengths[ended] = 0.0, 0
        state.alive = ~ended
        if len(replay) >= max(config.learning_starts, config.batch_size):
            state.updates_owed += taken / config.train_every
            agent.set_learning_rate(learning_rate_at(state.env_steps))
            while state.updates_owed >= 1:
                batch = replay.sample(config.batch_size, state.generator, importance_at(state.env_steps))
                state.loss, errors = agent.update(batch)
                if replay.priorities and errors is not None:
                    replay.priorities.update(batch.rows, errors.cpu().numpy())
                state.updates_owed -= 1
        yield state
