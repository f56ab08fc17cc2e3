"""The complete mutable state of a run."""

import dataclasses
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dqn_models.manifest import EnvironmentInfo
from dqn_models.masks import ACTION_MASK, BoolArray
from dqn_training.checkpoint.values import State, Stateful
from dqn_training.config import DQNConfig
from dqn_training.envs.checks import single_instance_hint
from dqn_training.envs.snapshot import UncapturableError, capture_environment, restore_environment
from dqn_training.envs.vector import AnyVectorEnv, make_vector_environment, vectorization_of
from dqn_training.learning.agent import DQNAgent
from dqn_training.learning.best import Selection
from dqn_training.learning.health import CollapseMonitor
from dqn_training.networks.q_network import make_q_network
from dqn_training.replay.buffer import ReplayBuffer
from dqn_training.replay.frames import stacked_frames
from dqn_training.replay.rollouts import Rollouts
from dqn_training.replay.source import ExperienceSource
from dqn_training.seeds import first_seed, process_generators, restart_seed, restore_process_generators, seed_process


class Episode(NamedTuple):
    """A finished training episode."""

    env_steps: int  # taken by all environments until its end
    total_reward: float
    length: int


@dataclasses.dataclass
class TrainingState(Stateful):
    """The state of a run, as saved in a checkpoint. The loop advances it in place and has no state of its own.

    Arrays have one element per environment.
    """

    _state = (
        "agent",
        "replay",
        "generator",
        "observations",
        "masks",
        "returns",
        "lengths",
        "alive",
        "warm",
        "selection",
        "monitor",
        "updates_owed",
        "env_steps",
        "epsilon",
        "loss",
        "wall_seconds",
    )

    agent: DQNAgent
    replay: ExperienceSource | Rollouts
    environments: AnyVectorEnv
    generator: np.random.Generator  # for actions and batches
    observations: NDArray[Any]  # current observations, [num_envs, *observation_shape]
    masks: BoolArray | None  # their action masks, [num_envs, n], if the environment has any
    returns: NDArray[np.float64]  # of the running episodes
    lengths: NDArray[np.int64]
    alive: NDArray[np.bool_]  # False where the next step only resets
    warm: bool  # started from the weights of an earlier policy
    selection: Selection
    monitor: CollapseMonitor = dataclasses.field(default_factory=CollapseMonitor)
    updates_owed: float = 0.0
    env_steps: int = 0
    epsilon: float = 1.0
    loss: Tensor | None = None  # [batch], of the last gradient step
    episodes: list[Episode] = dataclasses.field(default_factory=list)
    wall_seconds: float = 0.0  # spent so far; updated by the Clock callback
    _environments_before: Any = None  # the previous capture

    def recent(self, name: Literal["total_reward", "length"]) -> float:
        """Mean return or length of the last 100 training episodes; NaN before the first."""
        values = [getattr(episode, name) for episode in self.episodes[-100:]]
        return sum(values) / len(values) if values else float("nan")

    def finished(self, config: DQNConfig) -> bool:
        """Whether the budget is spent or early stopping applies."""
        return (
            self.env_steps >= config.total_env_steps
            or (config.max_episodes is not None and len(self.episodes) >= config.max_episodes)
            or self.selection.reached >= config.stop_evaluations
        )

    def close(self) -> None:
        """Closes the environments; the agent stays usable."""
        self.environments.close()

    def state_dict(self) -> State:
        """The whole run, including the process's random generators and, if possible, the environments."""
        return {
            **super().state_dict(),
            "episodes": np.array(self.episodes, np.float64).reshape(-1, len(Episode._fields)),
            "environments": self._captured()[0],
            "vectorization": vectorization_of(self.environments),
            "process": process_generators(),
        }

    def load_state_dict(self, state: State) -> None:
        """Restores everything except the environments; see `resume`."""
        super().load_state_dict(state)
        self.episodes = [Episode(int(steps), total, int(length)) for steps, total, length in state["episodes"].tolist()]
        restore_process_generators(state["process"])

    def resume(self, state: State) -> bool:
        """Resumes a saved run of the same configuration.

        Returns whether that is exact: if the environments' state cannot be restored, new episodes start.
        """
        self.load_state_dict(state)
        try:
            if state["environments"] is not None:
                restore_environment(self.environments, state["environments"])
                return True
        except UncapturableError:
            pass
        self._begin_episodes()
        return False

    def uncapturable(self) -> str | None:
        """Why the environments' state cannot be captured; None if it can."""
        return self._captured()[1]

    def _captured(self) -> tuple[Any, str | None]:
        """The state of the environments, or None and the reason why it cannot be captured."""
        try:
            self._environments_before = capture_environment(self.environments, self._environments_before)
            return self._environments_before, None
        except UncapturableError as error:
            return None, str(error)

    def _begin_episodes(self) -> None:
        """Abandons the running episodes and starts new ones."""
        observations, info = self.environments.reset(seed=restart_seed(self.agent.config.seed, self.env_steps))
        self.observations = observations.astype(self.observations.dtype, copy=False)
        self.masks = info.get(ACTION_MASK)
        self.replay.begin_episodes(self.observations, self.masks)
        self.returns[:], self.lengths[:], self.alive[:] = 0.0, 0, True


def make_state(config: DQNConfig, environment: EnvironmentInfo, weights: dict[str, Tensor] | None) -> TrainingState:
    """A run before its first step; `weights` is a state dict for a warm start. The caller must close it.

    Raises ValueError if the weights do not fit the configuration's network.
    """
    seed_process(config.seed)
    q_network = make_q_network(config, environment.observation_space, environment.action_space)
    if weights is not None:
        try:
            q_network.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(f"The weights to start from do not fit the network: {error}") from error
    replay = _make_replay(config, environment)
    with single_instance_hint():
        environments = make_vector_environment(environment, config.num_envs, config.vectorization)
    seed_process(config.seed)  # again: the measurement for `auto` may have drawn from the generators
    try:
        observations, info = environments.reset(seed=first_seed("train", config.seed))
    except BaseException:
        environments.close()
        raise
    return TrainingState(
        agent=DQNAgent(config, q_network, environment.action_space),
        replay=replay,
        environments=environments,
        generator=np.random.default_rng(config.seed),
        observations=observations.astype(replay.observation_dtype, copy=False),
        masks=info.get(ACTION_MASK),
        returns=np.zeros(config.num_envs),
        lengths=np.zeros(config.num_envs, np.int64),
        alive=np.ones(config.num_envs, np.bool_),
        warm=weights is not None,
        selection=Selection(due=config.eval_every),
    )


def _make_replay(config: DQNConfig, environment: EnvironmentInfo) -> ExperienceSource | Rollouts:
    shape = environment.observation_space.tensor_shape
    dtype = environment.observation_space.tensor_dtype
    if config.algorithm == "pqn":
        masked_actions = environment.action_space.n if environment.action_mask else 0
        branches = len(environment.action_space.branches)
        return Rollouts(config.rollout_steps, config.num_envs, shape, dtype, masked_actions, branches)
    return ReplayBuffer(
        config.replay_capacity,
        config.num_envs,
        shape,
        dtype,
        environment.action_space,
        config.n_step,
        config.gamma,
        config.priority_exponent if config.prioritized else None,
        stacked_frames(environment),
        masked=environment.action_mask is not None,
    )
