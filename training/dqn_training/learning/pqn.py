"""PQN (Gallici et al., 2024): after each rollout of all environments a few passes over it, and then it is forgotten.

Neither a replay buffer nor a target network is needed, as layer normalisation keeps the values from running away.
"""

import numpy as np

from dqn_training.config import DQNConfig
from dqn_training.learning.dqn import Learn
from dqn_training.learning.schedules import learning_rate_schedule
from dqn_training.learning.state import TrainingState
from dqn_training.replay.rollouts import Rollouts


def learn_from_rollouts(config: DQNConfig, state: TrainingState) -> Learn:
    """What PQN learns after each time step: nothing, until a rollout is complete."""
    learning_rate_at = learning_rate_schedule(config)
    rollouts, agent, generator = state.replay, state.agent, state.generator
    assert isinstance(rollouts, Rollouts)  # noqa: S101  (make_state sees to it)

    def learn(_: int) -> None:
        if not rollouts.complete:
            return
        agent.set_learning_rate(learning_rate_at(state.env_steps))
        observations, actions, td_targets = rollouts.latest(agent.values)
        count = len(actions)
        for _epoch in range(config.rollout_epochs):
            for rows in np.array_split(generator.permutation(count), max(1, round(count / config.batch_size))):
                state.loss = agent.regress(observations[rows], actions[rows], td_targets[rows]).loss

    return learn
