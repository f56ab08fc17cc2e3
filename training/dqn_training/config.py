"""What can be set about a training run: one flat dataclass, whose fields are also the command-line flags."""

import dataclasses
import json
from typing import Annotated, Any, Literal

from tyro.constructors import PrimitiveConstructorSpec

from dqn_training.config_checks import check_config


def _json_object(values: list[str]) -> dict[str, Any]:
    parsed = json.loads(values[0])
    if not isinstance(parsed, dict):
        raise ValueError(f'{values[0]} is not a JSON object such as {{"gravity": 12}}')  # noqa: TRY004  (tyro shows it)
    return parsed


JsonObject = Annotated[
    dict[str, Any],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="JSON",
        instance_from_str=_json_object,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [json.dumps(value)],
    ),
]
"""A dictionary that is one JSON object on the command line."""


@dataclasses.dataclass(frozen=True)
class DQNConfig:
    """Every choice of a training run. The defaults suit small control problems; see dqn_training/presets."""

    env_id: str = "CartPole-v1"
    """Gymnasium environment with discrete actions; `module:Name-v0` imports the module first."""
    env_kwargs: JsonObject = dataclasses.field(default_factory=dict)
    """Arguments of the environment's constructor."""
    preprocessing: Literal["auto", "none", "atari"] = "auto"
    """Wrappers of the environment: 84 x 84 grey pixels of every fourth frame (atari), none; auto: atari for ALE's."""
    frame_stack: int = 1
    """Latest observations that are stacked into one."""
    clip_rewards: bool = False
    """Learn from the sign of each reward; evaluations and reports count the real ones."""
    num_envs: int = 16
    """Environments that are stepped together."""
    vectorization: Literal["auto", "native", "sync", "async"] = "auto"
    """How they are stepped: by the environment's own vector version, one after another, or in processes; auto: its
    own for several if there is one, else by the measured time of a step, which changes no result."""
    seed: int = 0
    """Makes the run repeatable; evaluations use seeds of their own."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks compute; auto: a GPU for convolutional networks if there is one, else the CPU, which is faster."""
    algorithm: Literal["dqn", "pqn"] = "dqn"
    """Learn from a replay buffer with a target network, or from short parallel rollouts with neither (PQN)."""

    total_env_steps: int = 200_000
    """Environment steps after which training ends."""
    max_episodes: int | None = None
    """Episodes after which training ends, if that comes first."""

    network: Literal["auto", "mlp", "conv"] = "auto"
    """Convolutions before the hidden layers (conv) or not (mlp); auto: convolutions for images."""
    conv_layers: tuple[str, ...] = ()
    """Convolutions as FILTERSxKERNELxSTRIDE, such as 32x8x4; by default those that suit the image's size."""
    hidden_sizes: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers."""
    layer_norm: bool = True
    """Normalise each hidden layer before its ReLU, which steadies training."""
    dueling: bool = False
    """Give the state's value and the actions' advantages a last hidden layer each."""
    noisy: bool = False
    """Explore by noise in the weights, which is learned, instead of epsilon."""
    noisy_sigma: float = 0.5
    """Standard deviation of that noise at the start, still to be divided by the root of a layer's inputs."""
    distribution: Literal["none", "c51", "quantile"] = "none"
    """Learn the mean return, or its distribution over fixed values (C51) or by its quantiles (QR-DQN)."""
    atoms: int = 51
    """Fixed values, or quantiles, of such a distribution."""
    v_min: float = -10.0
    """Lowest fixed value of C51: at most the lowest discounted return."""
    v_max: float = 10.0
    """Highest fixed value of C51: at least the highest discounted return."""

    replay_capacity: int = 100_000
    """Transitions that are kept; the oldest go first."""
    learning_starts: int = 1_000
    """Transitions that must be there before the first gradient step."""
    batch_size: int = 128
    """Transitions in a gradient step, drawn uniformly without replacement unless prioritized."""
    train_every: int = 4
    """Environment steps for each gradient step."""
    prioritized: bool = False
    """Draw transitions with large errors more often, and weigh them less in return."""
    priority_exponent: float = 0.6
    """How much more often: 0 is uniform, 1 proportional to the error."""
    importance_exponent: float = 0.4
    """How far the weights undo this at the start; 1, entirely, is approached linearly until `total_env_steps`."""

    gamma: float = 0.99
    """Discount of a reward one step later."""
    n_step: int = 5
    """Rewards that are summed before the target network's value is used."""
    double_dqn: bool = True
    """Let the Q-network choose the next action that the target network values."""
    loss: Literal["huber", "squared"] = "huber"
    """Loss of the TD error; Huber's is linear beyond 1. C51 has a loss of its own."""
    q_lambda: float = 0.65
    """PQN: weight of longer returns, from 0 (one step) to 1 (the whole rollout)."""
    rollout_steps: int = 32
    """PQN: steps of each environment between two phases of learning."""
    rollout_epochs: int = 2
    """PQN: how often each phase goes through the rollout, in batches of `batch_size`."""

    optimizer: Literal["adam", "adamw", "adamw-amsgrad"] = "adam"
    """How gradients become steps."""
    learning_rate: float = 1e-3
    """Step size of the optimiser at the start."""
    learning_rate_end: float | None = None
    """Step size at `total_env_steps`, approached linearly; by default it stays."""
    weight_decay: float = 0.0
    """Decoupled weight decay; needs an adamw optimiser."""
    gradient_clip: Literal["none", "value", "norm"] = "norm"
    """Limit each gradient element, the gradient's norm, or nothing."""
    gradient_clip_at: float = 10.0
    """That limit."""

    target_update: Literal["soft", "periodic"] = "soft"
    """Move the target network a little after every gradient step, or copy it from time to time."""
    tau: float = 0.005
    """Share of the Q-network in a soft update."""
    target_update_every: int = 500
    """Gradient steps between periodic copies."""
    policy_weights: Literal["learned", "averaged"] = "averaged"
    """Evaluate and publish the weights as learned, or the steadier running average that the target network is."""

    epsilon_schedule: Literal["linear", "exponential"] = "linear"
    """How epsilon, the chance of a random action, falls."""
    epsilon_start: float = 1.0
    """Epsilon at the first step."""
    epsilon_end: float = 0.05
    """Epsilon that is reached (linear) or approached (exponential)."""
    epsilon_decay_steps: float = 10_000
    """Environment steps to the end (linear), or in which the distance to it falls to 37 % (exponential)."""
    warm_epsilon: float = 0.2
    """Where epsilon starts when training goes on from a champion's weights, if `epsilon_start` is higher."""

    log_every: int = 1_000
    """Environment steps between rows of metrics.csv and of other trackers; evaluations have rows of their own."""
    eval_every: int = 2_000
    """Environment steps between greedy evaluations, which choose the checkpoint to publish."""
    eval_episodes: int = 50
    """Episodes of each such evaluation."""
    stop_return: float | None = None
    """End early once such an evaluation has this mean return; by default never."""
    stop_evaluations: int = 3
    """Evaluations in succession that must have it."""
    gate_episodes: int = 200
    """Episodes in which challenger and champion are compared before a promotion."""
    report_episodes: int = 200
    """Episodes of the evaluation in the manifest; no other decision uses them."""
    episode_step_limit: int = 27_000
    """Steps after which an evaluation ends an episode whose environment does not."""

    def __post_init__(self) -> None:
        """Raises ValueError with a sentence that names the field, its value and what is allowed."""
        check_config(self)
