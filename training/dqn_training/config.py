"""What can be set about a training run: one flat dataclass, whose fields are also the command-line flags."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from dqn_training.ranges import Between, Count, Fraction, JsonObject, Positive, outside_ranges

Vectorization = Literal["auto", "native", "sync", "async"]


@dataclasses.dataclass(frozen=True)
class DQNConfig:
    """Every choice of a training run. The defaults suit small control problems; see dqn_training/presets."""

    env_id: str = "CartPole-v1"
    """Gymnasium environment; `module:Name-v0` imports the module first."""
    env_kwargs: JsonObject = dataclasses.field(default_factory=dict)
    """Keyword arguments of the environment's constructor, as a JSON object."""
    preprocessing: Literal["auto", "none", "atari"] = "auto"
    """Environment wrappers: atari gives 84 x 84 grey pixels of every fourth frame; auto: atari for ALE games."""
    frame_stack: Count = 1
    """Number of latest observations stacked into one."""
    wrapper: tuple[str, ...] = ()
    """Wrappers around the environment, innermost first: names in gymnasium.wrappers or module:Name, each with arguments
    as JSON if need be, such as FlattenObservation or 'TimeLimit={"max_episode_steps": 100}'."""
    discretize: Annotated[int | None, Between(2)] = None
    """Number of evenly spaced values of each element of a continuous (Box) action; such an environment needs it."""
    branching: Literal["auto", "on"] = "auto"
    """Q-values for each component of an action by itself instead of for each combination: auto: where there are more
    than 4,096 combinations; on: also where there are fewer."""
    action_masks: Literal["auto", "off"] = "auto"
    """Action masks of the environment, from info["action_mask"], action_masks() or a Dict observation's action_mask.
    auto: where there are some, take only allowed actions; off: ignore them."""
    reward_weights: tuple[float, ...] = ()
    """Weights of a reward of several numbers, whose weighted sum is the reward to learn from and to report."""
    clip_rewards: bool = False
    """Learn from the sign of each reward; evaluations and reports use the real rewards."""
    reward_scale: Positive = 1.0
    """Factor of the rewards that are learned from; evaluations, reports and the published Q-values use real rewards."""
    num_envs: Count = 16
    """Number of environments stepped together."""
    vectorization: Vectorization = "auto"
    """Step environments by their own vector version, serially, or in processes; auto: what is fastest here."""
    seed: Annotated[int, Between(0)] = 0
    """Seed of the run; evaluations use disjoint seeds derived from it."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the networks; auto: a GPU for convolutional networks if there is one, else the CPU, which is faster."""
    algorithm: Literal["dqn", "pqn"] = "dqn"
    """dqn: a replay buffer and a target network; pqn: Q(lambda) returns of short parallel rollouts, with neither."""

    total_env_steps: Count = 200_000
    """Environment steps after which training ends."""
    max_episodes: Annotated[int | None, Between(1)] = None
    """Training episodes after which training ends, if that comes before total_env_steps; by default unlimited."""

    network: Literal["auto", "mlp", "conv"] = "auto"
    """conv has convolutions before the hidden layers, mlp has none; auto: conv for image observations."""
    conv_layers: tuple[str, ...] = ()
    """Convolutions as FILTERSxKERNELxSTRIDE, such as 32x8x4; by default chosen by the size of the image."""
    normalize: bool = False
    """Normalize the numbers of observations by their mean and deviation before the first gradient step; it is in the
    graph, so that the server takes observations as they are."""
    hidden_sizes: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers."""
    # See docs/ablation.md: with small budgets and untuned settings, plain DQN scores 0.33 without it and 0.26 with it.
    layer_norm: bool = True
    """Layer norm before each ReLU; presets are tuned with it and PQN relies on it; plain DQN starts faster without."""
    dueling: bool = False
    """Dueling network: separate last hidden layers for the state value and the action advantages."""
    noisy: bool = False
    """Noisy network: explore by learned noise in the weights instead of epsilon-greedy."""
    noisy_sigma: Positive = 0.5
    """Initial noise scale sigma_0 of a noisy network; a layer starts at sigma_0 / sqrt(fan_in)."""
    distribution: Literal["none", "c51", "quantile"] = "none"
    """Learn the mean return (none), its distribution over fixed atoms (c51) or its quantiles (quantile: QR-DQN)."""
    atoms: Annotated[int, Between(2)] = 51
    """Number of atoms of c51, or of quantiles of QR-DQN."""
    v_min: float = -10.0
    """Lowest atom of c51; should be at most the lowest discounted return."""
    v_max: float = 10.0
    """Highest atom of c51; should be at least the highest discounted return."""

    replay_capacity: Count = 100_000
    """Transitions that the replay buffer holds; the oldest are overwritten first."""
    learning_starts: Count = 1_000
    """Transitions in the replay buffer before the first gradient step."""
    batch_size: Count = 128
    """Transitions per gradient step, sampled uniformly without replacement unless prioritized."""
    train_every: Count = 4
    """Environment steps per gradient step."""
    prioritized: bool = False
    """Prioritized experience replay: sample by priority, corrected by importance-sampling weights."""
    priority_exponent: Fraction = 0.6
    """Prioritization exponent (alpha): 0 uniform, 1 proportional to the TD error."""
    importance_exponent: Fraction = 0.4
    """Initial importance-sampling exponent (beta), annealed linearly to 1 at total_env_steps."""

    gamma: Fraction = 0.99
    """Discount factor of a reward one step later."""
    n_step: Count = 5
    """Steps of the n-step return before bootstrapping."""
    double_dqn: bool = True
    """Double DQN: the Q-network selects the next action, the target network evaluates it."""
    loss: Literal["huber", "squared"] = "huber"
    """Loss of the TD error: Huber, which is linear beyond 1, or squared; c51 and quantile have losses of their own."""
    q_lambda: Fraction = 0.65
    """PQN: lambda of the Q(lambda) returns, from 0 (one step) to 1 (the whole rollout)."""
    rollout_steps: Count = 32
    """PQN: steps of each environment per rollout."""
    rollout_epochs: Count = 2
    """PQN: passes over each rollout, in minibatches of batch_size."""

    optimizer: Literal["adam", "adamw", "adamw-amsgrad"] = "adam"
    """Optimizer: Adam, Adam with decoupled weight decay, or the latter with AMSGrad."""
    learning_rate: Positive = 1e-3
    """Initial learning rate."""
    learning_rate_end: Annotated[float | None, Between(0, above=True)] = None
    """Learning rate at total_env_steps, annealed linearly; by default the rate is constant."""
    weight_decay: Annotated[float, Between(0)] = 0.0
    """Decoupled weight decay; needs an adamw optimizer."""
    gradient_clip: Literal["none", "value", "norm"] = "norm"
    """Gradient clipping: of each element (value), of the global norm (norm), or none."""
    gradient_clip_at: Positive = 10.0
    """Gradient clipping threshold."""

    target_update: Literal["soft", "periodic"] = "soft"
    """Target network update: Polyak averaging after every gradient step (soft) or a copy every target_update_every."""
    tau: Annotated[float, Between(0, 1, above=True)] = 0.005
    """Polyak coefficient of the soft target update."""
    target_update_every: Count = 500
    """Gradient steps between periodic target updates."""
    policy_weights: Literal["learned", "averaged"] = "averaged"
    """Weights to publish: the Q-network's (learned), or their running average, the soft target (averaged)."""

    epsilon_schedule: Literal["linear", "exponential"] = "linear"
    """Shape of the decay of epsilon, the probability of a random action."""
    epsilon_start: Fraction = 1.0
    """Initial epsilon."""
    epsilon_end: Fraction = 0.05
    """Final epsilon, reached by the linear decay and approached by the exponential one."""
    epsilon_decay_steps: Positive = 10_000
    """Environment steps until epsilon_end (linear), or time constant of the decay (exponential)."""
    warm_epsilon: Fraction = 0.2
    """Upper limit of epsilon in a warm start from a champion's weights."""

    log_every: Count = 1_000
    """Environment steps between rows of metrics.csv and of other trackers; each evaluation adds a row of its own."""
    eval_every: Count = 2_000
    """Environment steps between greedy evaluations, which select the checkpoint to publish; see eval_fraction."""
    eval_episodes: Count = 50
    """Episodes per evaluation during training, at most."""
    eval_fraction: Positive = 0.1
    """Evaluation steps per training step, at most: long episodes make evaluations smaller, then rarer. The report and
    each policy in the gate may take half this fraction of training's seconds, or 5 seconds; the report also half this
    fraction of its steps, or 10,000."""
    eval_envs: Count = 32
    """Environments that an evaluation plays at once; 1: in a process of its own, for those that allow one a process."""
    stop_return: float | None = None
    """Stop early after stop_evaluations evaluations in a row with at least this mean return; by default never."""
    stop_evaluations: Count = 3
    """Evaluations in a row that must reach stop_return to stop early."""
    gate_episodes: Annotated[int, Between(2)] = 400
    """Paired episodes in which the gate compares challenger and champion, at most; see eval_fraction."""
    report_episodes: Count = 200
    """Episodes of the final evaluation in the manifest, at most; nothing else uses their seeds."""
    episode_step_limit: Annotated[int | None, Between(1)] = None
    """Steps after which an evaluation ends an episode; by default 27,000, or 1,000 where the environment has no time
    limit of its own."""

    def __post_init__(self) -> None:
        """Raises ValueError with a sentence that names the field, its value and what is allowed."""
        for sentence in (*outside_ranges(self), *_layers(self), *_sizes(self), *_contradictions(self), *_pqn(self)):
            raise ValueError(sentence)

    def to_json(self) -> dict[str, Any]:
        """Every field by name, as a manifest and a run's description keep them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `to_json` described; fields that this release does not know are left out, missing ones have defaults."""
        kept: dict[str, Any] = {
            field.name: tuple(value) if isinstance(value := values[field.name], list) else value
            for field in dataclasses.fields(cls)
            if field.name in values
        }
        return cls(**kept)


def _layers(config: DQNConfig) -> Iterator[str]:
    if not config.hidden_sizes or min(config.hidden_sizes) < 1:
        yield f"hidden_sizes is {config.hidden_sizes}; it needs at least one width, each at least 1."
    for text in config.conv_layers:
        if not re.fullmatch("[1-9][0-9]*x[1-9][0-9]*x[1-9][0-9]*", text):
            yield f"conv_layers has {text!r}; each is FILTERSxKERNELxSTRIDE, such as 32x8x4."


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
            "policy_weights is 'averaged', which needs target_update 'soft': a periodic copy is no average; "
            "allowed is 'learned'."
        )
    if config.weight_decay and config.optimizer == "adam":
        yield f"weight_decay is {config.weight_decay}; it needs optimizer adamw or adamw-amsgrad."
    if not -math.inf < config.v_min < config.v_max < math.inf:
        yield f"v_min is {config.v_min}; it must be a number below v_max, which is {config.v_max}."
    if config.loss == "squared" and config.distribution != "none":
        yield (
            f"loss is 'squared', which needs distribution 'none': {config.distribution} has its own; allowed is "
            "'huber'."
        )


def _pqn(config: DQNConfig) -> Iterator[str]:
    if config.algorithm != "pqn":
        return
    if config.prioritized:
        yield "prioritized is True, which needs algorithm 'dqn': PQN has no replay buffer to draw from."
    if config.distribution != "none":
        yield f"distribution is '{config.distribution}', which needs algorithm 'dqn': PQN learns mean returns."
    if config.noisy:
        yield "noisy is True, which needs algorithm 'dqn': PQN explores by epsilon."
