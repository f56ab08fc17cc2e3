"""The settings of a training run: one flat dataclass whose fields are also the command-line flags."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from dqn_training.ranges import Between, Count, Fraction, JsonObject, Positive, outside_ranges

Vectorization = Literal["auto", "native", "sync", "async"]


@dataclasses.dataclass(frozen=True)
class DQNConfig:
    """All settings of a training run. The defaults suit small control problems; see also dqn_training/presets."""

    env_id: str = "CartPole-v1"
    """Id of the Gymnasium environment; module:Name-v0 imports the module first."""
    env_kwargs: JsonObject = dataclasses.field(default_factory=dict)
    """Keyword arguments of the environment's constructor, as a JSON object."""
    preprocessing: Literal["auto", "none", "atari"] = "auto"
    """Standard preprocessing: atari gives 84 x 84 greyscale images of every fourth frame; auto: atari for ALE games."""
    frame_stack: Count = 1
    """Number of consecutive observations stacked into one."""
    wrapper: tuple[str, ...] = ()
    """Environment wrappers, innermost first: class names in gymnasium.wrappers or module:Class, with optional JSON
    arguments, e.g. FlattenObservation or 'TimeLimit={"max_episode_steps": 100}'."""
    discretize: Annotated[int | None, Between(2)] = None
    """Number of evenly spaced values per element of a continuous (Box) action; required for continuous actions."""
    branching: Literal["auto", "on"] = "auto"
    """Action branching: separate Q-values for each component of an action instead of one per combination. auto: if
    there are more than 4,096 combinations; on: always."""
    action_masks: Literal["auto", "off"] = "auto"
    """Action masks of the environment, from info["action_mask"], action_masks() or a Dict observation's action_mask.
    auto: use masks if the environment has them, and take only allowed actions; off: ignore masks."""
    reward_weights: tuple[float, ...] = ()
    """Weights of a vector-valued reward; their weighted sum becomes the reward, in training and in evaluations."""
    clip_rewards: bool = False
    """Learn from the sign of each reward; evaluations use the original rewards."""
    reward_scale: Positive = 1.0
    """Factor applied to rewards in training; evaluations and published Q-values are in original reward units."""
    num_envs: Count = 16
    """Number of environments stepped together."""
    vectorization: Vectorization = "auto"
    """Step environments with their native vector version (native), serially (sync) or in processes (async); auto: the
    fastest on this machine."""
    seed: Annotated[int, Between(0)] = 0
    """Seed of the run; evaluations use disjoint seeds derived from it."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the networks; auto: a GPU for convolutional networks if available, else the CPU, which is faster for
    small networks."""
    algorithm: Literal["dqn", "pqn"] = "dqn"
    """dqn: replay buffer and target network; pqn: Q(lambda) returns of short parallel rollouts, without either."""

    total_env_steps: Count = 200_000
    """Environment steps to train for."""
    max_episodes: Annotated[int | None, Between(1)] = None
    """Stop after this many training episodes, if sooner than total_env_steps; default: no limit."""

    network: Literal["auto", "mlp", "conv"] = "auto"
    """Network type: mlp, or conv with convolutions before the hidden layers; auto: conv for image observations."""
    conv_layers: tuple[str, ...] = ()
    """Convolutional layers as FILTERSxKERNELxSTRIDE, e.g. 32x8x4; default: chosen by image size."""
    normalize: bool = False
    """Normalize continuous features by their mean and standard deviation before the first gradient step; part of the
    exported graph, so that the server takes raw observations."""
    hidden_sizes: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers."""
    # See docs/ablation.md: with small budgets and untuned settings, plain DQN scores 0.33 without it and 0.26 with it.
    layer_norm: bool = True
    """Layer normalization before each ReLU; PQN relies on it and the presets are tuned with it; plain DQN learns faster
    without it at first."""
    dueling: bool = False
    """Dueling network: separate last hidden layers for the state value and the action advantages."""
    noisy: bool = False
    """Noisy network: explore with learned noise in the weights instead of epsilon-greedy."""
    noisy_sigma: Positive = 0.5
    """Initial noise scale sigma_0 of a noisy network; a layer starts at sigma_0 / sqrt(fan_in)."""
    distribution: Literal["none", "c51", "quantile"] = "none"
    """Learn the mean return (none), its distribution over fixed atoms (c51), or its quantiles (quantile: QR-DQN)."""
    atoms: Annotated[int, Between(2)] = 51
    """Number of atoms (c51) or quantiles (quantile)."""
    v_min: float = -10.0
    """Lowest atom of c51; at most the lowest expected discounted return."""
    v_max: float = 10.0
    """Highest atom of c51; at least the highest expected discounted return."""

    replay_capacity: Count = 100_000
    """Capacity of the replay buffer in transitions; the oldest are overwritten first."""
    learning_starts: Count = 1_000
    """Transitions in the replay buffer before the first gradient step."""
    batch_size: Count = 128
    """Transitions per gradient step, sampled uniformly without replacement unless prioritized."""
    train_every: Count = 4
    """Environment steps per gradient step."""
    prioritized: bool = False
    """Prioritized experience replay: sample transitions by TD error, corrected by importance-sampling weights."""
    priority_exponent: Fraction = 0.6
    """Prioritization exponent (alpha): 0 uniform, 1 proportional to the TD error."""
    importance_exponent: Fraction = 0.4
    """Initial importance-sampling exponent (beta), annealed linearly to 1 at total_env_steps."""

    gamma: Fraction = 0.99
    """Discount factor per environment step."""
    n_step: Count = 5
    """Number of rewards in the n-step return before bootstrapping."""
    double_dqn: bool = True
    """Double DQN: the Q-network selects the next action, the target network evaluates it."""
    loss: Literal["huber", "squared"] = "huber"
    """Loss on the TD error: Huber (linear beyond 1) or squared; c51 and quantile have their own losses."""
    q_lambda: Fraction = 0.65
    """PQN: lambda of the Q(lambda) returns, from 0 (one step) to 1 (the whole rollout)."""
    rollout_steps: Count = 32
    """PQN: steps per environment in a rollout."""
    rollout_epochs: Count = 2
    """PQN: passes over each rollout, in minibatches of batch_size."""

    optimizer: Literal["adam", "adamw", "adamw-amsgrad"] = "adam"
    """Optimizer: Adam, AdamW (decoupled weight decay), or AdamW with AMSGrad."""
    learning_rate: Positive = 1e-3
    """Initial learning rate."""
    learning_rate_end: Annotated[float | None, Between(0, above=True)] = None
    """Learning rate at total_env_steps, annealed linearly; default: constant."""
    weight_decay: Annotated[float, Between(0)] = 0.0
    """Decoupled weight decay; requires an adamw optimizer."""
    gradient_clip: Literal["none", "value", "norm"] = "norm"
    """Gradient clipping: of each element (value), of the global norm (norm), or none."""
    gradient_clip_at: Positive = 10.0
    """Threshold for gradient clipping."""

    target_update: Literal["soft", "periodic"] = "soft"
    """Target network update: Polyak averaging after every gradient step (soft), or a copy every target_update_every
    gradient steps (periodic)."""
    tau: Annotated[float, Between(0, 1, above=True)] = 0.005
    """Polyak coefficient of the soft target update."""
    target_update_every: Count = 500
    """Gradient steps between periodic target updates."""
    policy_weights: Literal["learned", "averaged"] = "averaged"
    """Weights to evaluate and publish: the Q-network's (learned), or their running average, the soft target network's
    (averaged)."""

    epsilon_schedule: Literal["linear", "exponential"] = "linear"
    """Shape of the decay of epsilon, the probability of a random action."""
    epsilon_start: Fraction = 1.0
    """Initial epsilon."""
    epsilon_end: Fraction = 0.05
    """Final epsilon, reached by linear decay and approached by exponential decay."""
    epsilon_decay_steps: Positive = 10_000
    """Environment steps until epsilon_end (linear), or time constant of the decay (exponential)."""
    warm_epsilon: Fraction = 0.2
    """Upper limit of epsilon when starting from a champion's weights."""

    log_every: Count = 1_000
    """Environment steps between rows of metrics.csv and of other trackers; each evaluation adds another row."""
    eval_every: Count = 2_000
    """Environment steps between greedy evaluations, which select the checkpoint to publish; see eval_fraction."""
    eval_episodes: Count = 50
    """Maximum number of episodes per evaluation during training."""
    eval_fraction: Positive = 0.1
    """Maximum ratio of evaluation steps to training steps; long episodes make evaluations smaller, then less frequent.
    The final evaluation and each policy in the gate may take half this fraction of the training time, or 5 seconds if
    that is more; the final evaluation also half this fraction of the training steps, or 10,000 if that is more."""
    eval_envs: Count = 32
    """Environments that an evaluation plays at once; 1: a single one in a separate process, for environments that allow
    only one instance per process."""
    stop_return: float | None = None
    """Stop early after stop_evaluations consecutive evaluations with at least this mean return; default: never."""
    stop_evaluations: Count = 3
    """Consecutive evaluations that must reach stop_return to stop early."""
    gate_episodes: Annotated[int, Between(2)] = 400
    """Maximum number of paired episodes in which the gate compares challenger and champion; see eval_fraction."""
    report_episodes: Count = 200
    """Maximum number of episodes of the final evaluation, which the manifest reports; played with test seeds."""
    episode_step_limit: Annotated[int | None, Between(1)] = None
    """Steps after which evaluations truncate an episode; default: 27,000, or 1,000 if the environment has no time
    limit."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the field, its value and what is allowed."""
        for sentence in (*outside_ranges(self), *_layers(self), *_sizes(self), *_contradictions(self), *_pqn(self)):
            raise ValueError(sentence)

    def to_json(self) -> dict[str, Any]:
        """Every field by name, as stored in a manifest and in run.json."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; unknown fields are ignored, missing ones get their defaults."""
        kept: dict[str, Any] = {
            field.name: tuple(value) if isinstance(value := values[field.name], list) else value
            for field in dataclasses.fields(cls)
            if field.name in values
        }
        return cls(**kept)


def _layers(config: DQNConfig) -> Iterator[str]:
    if not config.hidden_sizes or min(config.hidden_sizes) < 1:
        yield f"hidden_sizes is {config.hidden_sizes}; expected at least one width, each at least 1."
    for text in config.conv_layers:
        if not re.fullmatch("[1-9][0-9]*x[1-9][0-9]*x[1-9][0-9]*", text):
            yield f"conv_layers has {text!r}; expected FILTERSxKERNELxSTRIDE, such as 32x8x4."


def _sizes(config: DQNConfig) -> Iterator[str]:
    if config.algorithm == "pqn":
        rollout = config.num_envs * config.rollout_steps
        if config.batch_size > rollout:
            yield (
                f"batch_size is {config.batch_size}; with algorithm 'pqn' it must be at most num_envs x rollout_steps "
                f"= {rollout}."
            )
        return
    if config.batch_size > config.replay_capacity:
        yield (
            f"batch_size is {config.batch_size}; it must be at most replay_capacity, which is {config.replay_capacity}."
        )
    rows = config.num_envs * (config.n_step + config.frame_stack + 1)
    if config.replay_capacity < max(config.learning_starts, config.batch_size) + rows:
        yield (
            f"replay_capacity is {config.replay_capacity}; it must exceed learning_starts ({config.learning_starts}) "
            f"and batch_size ({config.batch_size}) by num_envs x (n_step + frame_stack + 1) = {rows}."
        )


def _contradictions(config: DQNConfig) -> Iterator[str]:
    if config.epsilon_end > config.epsilon_start:
        yield (
            f"epsilon_end is {config.epsilon_end}; it must be at most epsilon_start, which is {config.epsilon_start}."
        )
    if config.policy_weights == "averaged" and config.target_update != "soft":
        yield (
            "policy_weights is 'averaged', which needs target_update 'soft': a periodic copy is not an average. Use "
            "'learned'."
        )
    if config.weight_decay and config.optimizer == "adam":
        yield f"weight_decay is {config.weight_decay}; it needs optimizer adamw or adamw-amsgrad."
    if not -math.inf < config.v_min < config.v_max < math.inf:
        yield f"v_min is {config.v_min}; it must be a number below v_max, which is {config.v_max}."
    if config.loss == "squared" and config.distribution != "none":
        yield (
            f"loss is 'squared', which needs distribution 'none': {config.distribution} has its own loss. Use 'huber'."
        )


def _pqn(config: DQNConfig) -> Iterator[str]:
    if config.algorithm != "pqn":
        return
    if config.prioritized:
        yield "prioritized is True, which needs algorithm 'dqn': PQN has no replay buffer."
    if config.distribution != "none":
        yield f"distribution is '{config.distribution}', which needs algorithm 'dqn': PQN learns mean returns."
    if config.noisy:
        yield "noisy is True, which needs algorithm 'dqn': PQN explores with epsilon-greedy."
