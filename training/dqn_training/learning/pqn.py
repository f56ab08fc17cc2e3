"""PQN (Gallici et al., 2024): after each rollout of all environments a few passes over it, and then it is forgotten.

Neither a replay buffer nor a target network is needed, as layer normalisation keeps the values from running away.
"""

import numpy as np
from numpy.typing import NDArray

from dqn_training.config import DQNConfig
from dqn_training.learning.agent import DQNAgent
from dqn_training.learning.dqn import Learn
from dqn_training.learning.schedules import learning_rate_schedule
from dqn_training.learning.state import TrainingState
from dqn_training.learning.targets import lambda_returns
from dqn_training.replay.rollouts import Rollout, Rollouts


def learn_from_rollouts(config: DQNConfig, state: TrainingState, rollouts: Rollouts) -> Learn:
    """What PQN learns after each time step: nothing, until a rollout is complete."""
    learning_rate_at = learning_rate_schedule(config)
    agent, generator = state.agent, state.generator

    def learn(_: int) -> None:
        if not rollouts.complete:
            return
        agent.set_learning_rate(learning_rate_at(state.env_steps))
        rollout = rollouts.latest()
        td_targets = _td_targets(config, agent, rollout)[rollout.alive]
        observations, actions = rollout.observations[rollout.alive], rollout.actions[rollout.alive]
        count = len(actions)
        for _epoch in range(config.rollout_epochs):
            for rows in np.array_split(generator.permutation(count), max(1, round(count / config.batch_size))):
                state.loss = agent.regress(observations[rows], actions[rows], td_targets[rows]).loss

    return learn


def _td_targets(config: DQNConfig, agent: DQNAgent, rollout: Rollout) -> NDArray[np.float32]:
    """The Q(lambda) returns [steps, num_envs] of a rollout, with the agent's values."""
    following = rollout.next_observations
    next_values = agent.values(following.reshape(-1, *following.shape[2:])).reshape(rollout.rewards.shape)
    ended = rollout.terminated | rollout.truncated
    return lambda_returns(rollout.rewards, next_values, rollout.terminated, ended, config.gamma, config.q_lambda)
