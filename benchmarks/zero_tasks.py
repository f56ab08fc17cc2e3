"""The tasks of benchmarks/zero_config.py: environments, budgets, the scale of scores, and RL Zoo's settings."""

from typing import Any, NamedTuple

THIRD_PARTY = (
    "gymnasium[box2d,classic-control,toy-text]",
    "MinAtar",
    "bsuite",
    "flappy-bird-gymnasium",
    "gymnasium-snake-game",
    "minigrid",
    "mo-gymnasium",
    "nasim",
    "popgym",
    "shimmy",
)

CHOSEN_ON = (
    "the small ones of `benchmarks/choice_environments.py` (finite observations, features, images)",
    "MinAtar/Asterix-v1",
)
"""The environments on which the rules of `general` were chosen: none of those below."""


class Task(NamedTuple):
    """An environment with its training steps, and the returns that correspond to scores of 0 and 1."""

    env_id: str
    steps: int
    zero: float  # mean return of a random policy, measured by this benchmark, or of an idle one if higher
    reference: float
    known_from: str  # where the reference comes from
    older_id: str | None = None  # in Gymnasium 0.29, which CleanRL needs


TASKS = {
    "CartPole": Task("CartPole-v1", 20_000, 22.5, 500.0, "the maximum"),
    "Acrobot": Task("Acrobot-v1", 20_000, -497.0, -75.0, "the preset acrobot, about the best known"),
    "LunarLander": Task("LunarLander-v3", 50_000, -208.0, 240.0, "the preset lunarlander", "LunarLander-v2"),
    "FrozenLake": Task("FrozenLake-v1", 20_000, 0.0, 0.74, "value iteration"),
    "Taxi": Task("Taxi-v4", 30_000, -200.0, 7.9, "idle; value iteration", "Taxi-v3"),
    "CliffWalking": Task("CliffWalking-v1", 20_000, -1_000.0, -13.0, "idle; the shortest safe way", "CliffWalking-v0"),
    "MinAtar-Breakout": Task("MinAtar/Breakout-v1", 50_000, 0.4, 9.0, "DQN after 5 million frames (Young & Tian)"),
    "MinAtar-SpaceInvaders": Task(
        "MinAtar/SpaceInvaders-v1", 50_000, 3.7, 50.0, "DQN after 5 million frames (Young & Tian)"
    ),
    "MiniGrid-Empty": Task("zero_environments:zero/MiniGrid-Empty-5x5-v0", 20_000, 0.2, 0.955, "the shortest way"),
    "FlappyBird": Task("zero_environments:zero/FlappyBird-v0", 20_000, -7.5, 20.0, "about three pipes"),
    "bsuite-catch": Task("shimmy:bsuite/catch-v0", 20_000, -0.7, 1.0, "the maximum"),
    "deep-sea-treasure": Task("zero_environments:zero/DeepSeaTreasure-v0", 20_000, -3.4, 3.55, "the best treasure"),
    "nasim-Tiny": Task("zero_environments:zero/NasimTiny-v0", 20_000, 91.0, 197.0, "its own upper bound"),
    "Snake": Task("gymnasium_snake_game:Snake-v1", 20_000, -9.9, 5.0, "fifteen fruits"),
    "popgym-HigherLower": Task("popgym:popgym-HigherLowerEasy-v0", 20_000, 0.0, 0.5, "the better guess, each time"),
}

SOURCE = "https://github.com/DLR-RM/rl-baselines3-zoo/blob/master/hyperparams/dqn.yml"
_TUNED = {"learning_rate": 2.5e-4, "batch_size": 512, "buffer_size": 100_000, "learning_starts": 0, "gamma": 0.99}
_OFTEN = {"target_update_interval": 5_000, "train_freq": 16, "gradient_steps": 4}
_GREEDY = {"exploration_fraction": 0.06, "exploration_final_eps": 0.11}

ZOO: dict[str, dict[str, Any]] = {
    "CartPole": {**_TUNED, **_OFTEN, **_GREEDY},
    "Acrobot": {**_TUNED, **_OFTEN, **_GREEDY},
    "LunarLander": {
        "learning_rate": 8.8e-4,
        "batch_size": 32,
        "buffer_size": 1_000_000,
        "learning_starts": 0,
        "gamma": 0.99,
        "target_update_interval": 10_000,
        "train_freq": 16,
        "gradient_steps": -1,
        "exploration_fraction": 0.2,
        "exploration_final_eps": 0.1,
        "policy_kwargs": {"net_arch": [256, 256]},
    },
}
"""RL Zoo's settings for Stable-Baselines3's DQN where available (`SOURCE`), except for the number of steps."""
