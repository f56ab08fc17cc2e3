"""The training loop: acts, stores, learns. The caller iterates over it, evaluates, and may stop."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from dqn_models.manifest import EnvironmentInfo
from dqn_models.masks import ACTION_MASK
from dqn_training.config import DQNConfig
from dqn_training.learning.agent import DQNAgent
from dqn_training.learning.schedules import epsilon_schedule, importance_schedule, learning_rate_schedule
from dqn_training.learning.state import Episode, TrainingState
from dqn_training.learning.targets import lambda_returns
from dqn_training.replay.rollouts import Rollout, Rollouts
from dqn_training.replay.source import ExperienceSource

Learn = Callable[[int], None]
"""Called after each time step with the number of environment steps taken in it."""


def train(config: DQNConfig, environment: EnvironmentInfo, state: TrainingState) -> Iterator[TrainingState]:
    """Steps every environment once per iteration and yields the state, until the run is finished.

    Between iterations everything that changes is in the state, so that the loop can continue from any state.
    """
    epsilon_at = epsilon_schedule(config, warm=state.warm)
    agent, replay, in_own_form = state.agent, state.replay, environment.action_space.action
    if isinstance(replay, Rollouts):
        learn = _learn_from_rollouts(config, state, replay)
    else:
        learn = _learn_from_replay(config, state, replay)
    while not state.finished(config):
        state.epsilon = epsilon_at(state.env_steps)
        actions = agent.act(state.observations, state.epsilon, state.generator, state.masks)
        next_observations, rewards, terminated, truncated, info = state.environments.step(in_own_form(actions))
        next_observations = next_observations.astype(state.observations.dtype, copy=False)
        learned = config.reward_scale * (np.sign(rewards) if config.clip_rewards else rewards)
        state.masks = info.get(ACTION_MASK)
        replay.add(
            state.observations, actions, learned, terminated, truncated, next_observations, state.alive, state.masks
        )
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


def _learn_from_replay(config: DQNConfig, state: TrainingState, replay: ExperienceSource) -> Learn:
    """DQN: gradient steps on transitions sampled from replay, one for every `train_every` environment steps."""
    learning_rate_at, importance_at = learning_rate_schedule(config), importance_schedule(config)
    agent = state.agent
    enough = max(config.learning_starts, config.batch_size)

    def learn(taken: int) -> None:
        if len(replay) < enough:
            return
        _normalize(config, state)
        state.updates_owed += taken / config.train_every
        agent.optimizer.learning_rate = learning_rate_at(state.env_steps)
        while state.updates_owed >= 1:
            batch = replay.sample(config.batch_size, state.generator, importance_at(state.env_steps))
            state.loss, errors = agent.update(batch)
            if errors is not None:
                replay.update_priorities(batch.rows, errors.cpu().numpy())
            state.updates_owed -= 1

    return learn


def _learn_from_rollouts(config: DQNConfig, state: TrainingState, rollouts: Rollouts) -> Learn:
    """PQN (Gallici et al., 2024): a few passes over each rollout of all environments, which is then discarded.

    It needs neither a replay buffer nor a target network, as layer normalization keeps values from diverging.
    """
    learning_rate_at = learning_rate_schedule(config)
    agent, generator = state.agent, state.generator

    def learn(_: int) -> None:
        if not rollouts.complete:
            return
        _normalize(config, state)
        agent.optimizer.learning_rate = learning_rate_at(state.env_steps)
        rollout = rollouts.latest()
        td_targets = _td_targets(config, agent, rollout)[rollout.alive]
        observations, actions = rollout.observations[rollout.alive], rollout.actions[rollout.alive]
        count = len(actions)
        for _epoch in range(config.rollout_epochs):
            for rows in np.array_split(generator.permutation(count), max(1, round(count / config.batch_size))):
                state.loss = agent.regress(observations[rows], actions[rows], td_targets[rows]).losses

    return learn


def _normalize(config: DQNConfig, state: TrainingState) -> None:
    """Computes the input statistics before the first gradient step; a warm start keeps its own."""
    if config.normalize and state.agent.gradient_steps == 0 and not state.warm:
        state.agent.normalize_by(state.replay.observations())


def _td_targets(config: DQNConfig, agent: DQNAgent, rollout: Rollout) -> NDArray[np.float32]:
    """The Q(lambda) returns [steps, num_envs] of a rollout, by the agent's values."""
    following, masks = rollout.next_observations, rollout.next_masks
    if masks is not None:
        masks = masks.reshape(-1, masks.shape[-1])
    next_values = agent.values(following.reshape(-1, *following.shape[2:]), masks).reshape(rollout.rewards.shape)
    ended = rollout.terminated | rollout.truncated
    return lambda_returns(rollout.rewards, next_values, rollout.terminated, ended, config.gamma, config.q_lambda)
