"""DQN: gradient steps on transitions drawn from replay, so many for each environment step."""

from collections.abc import Callable

from dqn_training.config import DQNConfig
from dqn_training.learning.schedules import importance_schedule, learning_rate_schedule
from dqn_training.learning.state import TrainingState
from dqn_training.replay.source import ExperienceSource

Learn = Callable[[int], None]
"""Called after each time step with the number of environment steps that were taken in it."""


def learn_from_replay(config: DQNConfig, state: TrainingState, replay: ExperienceSource) -> Learn:
    """What DQN learns after each time step; everything that changes is in the state."""
    learning_rate_at, importance_at = learning_rate_schedule(config), importance_schedule(config)
    agent = state.agent
    enough = max(config.learning_starts, config.batch_size)

    def learn(taken: int) -> None:
        if len(replay) < enough:
            return
        state.updates_owed += taken / config.train_every
        agent.set_learning_rate(learning_rate_at(state.env_steps))
        while state.updates_owed >= 1:
            batch = replay.sample(config.batch_size, state.generator, importance_at(state.env_steps))
            state.loss, errors = agent.update(batch)
            if errors is not None:
                replay.update_priorities(batch.rows, errors.cpu().numpy())
            state.updates_owed -= 1

    return learn
