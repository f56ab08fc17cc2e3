"""DQN of Stable-Baselines3 or SBX with RL Zoo's settings; prints one JSON line. Runs in the peer's environment.

RL Zoo's settings are from its hyperparams/dqn.yml.
"""

import json
import sys
import time
from typing import Any

import gymnasium
import numpy as np

CARTPOLE = {
    "total_timesteps": 50_000,
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "buffer_size": 100_000,
    "learning_starts": 1_000,
    "gamma": 0.99,
    "target_update_interval": 10,
    "train_freq": 256,
    "gradient_steps": 128,
    "exploration_fraction": 0.16,
    "exploration_final_eps": 0.04,
}
# Stable-Baselines3 publishes none for MinAtar. These are the paper's (Young & Tian, 2019), except for Adam instead of
# RMSProp, and exploration and a learning start that suit 100,000 steps instead of 5 million.
MINATAR = {
    "learning_rate": 2.5e-4,
    "batch_size": 32,
    "buffer_size": 100_000,
    "learning_starts": 5_000,
    "gamma": 0.99,
    "target_update_interval": 1_000,
    "train_freq": 4,
    "gradient_steps": 1,
    "exploration_fraction": 0.1,
    "exploration_final_eps": 0.1,
}


def main(library: str, env_id: str, seed: int, env_steps: int, episodes: int) -> None:
    """Trains, then plays greedily with seeds not used in training; `env_steps` 0: as in the settings."""
    if library == "sbx":
        from sbx import DQN
    else:
        import torch
        from stable_baselines3 import DQN

        torch.set_num_threads(1)
    of_minatar = env_id.startswith("MinAtar")
    settings = dict(MINATAR if of_minatar else CARTPOLE)
    steps = env_steps or int(settings["total_timesteps"])
    settings.pop("total_timesteps", None)
    environment = make_environment(env_id)
    network = minatar_network() if of_minatar else {"net_arch": [256, 256]}
    model: Any = DQN("MlpPolicy", environment, seed=seed, policy_kwargs=network, **settings)
    started = time.perf_counter()
    model.learn(steps)
    seconds = time.perf_counter() - started
    returns = play(model, make_environment(env_id), episodes)
    print(json.dumps({"seconds": seconds, "env_steps": steps, "mean": np.mean(returns), "min": min(returns)}))


def minatar_network() -> dict[str, Any]:
    """The paper's network: 16 filters of 3 x 3, then 128 units."""
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from torch import nn

    class Planes(BaseFeaturesExtractor):
        def __init__(self, space: Any) -> None:
            height, width, planes = space.shape
            super().__init__(space, 16 * (height - 2) * (width - 2))
            self.layers = nn.Sequential(nn.Conv2d(planes, 16, 3), nn.ReLU(), nn.Flatten())

        def forward(self, observations: Any) -> Any:
            return self.layers(observations.permute(0, 3, 1, 2))

    return {"features_extractor_class": Planes, "net_arch": [128], "normalize_images": False}


def make_environment(env_id: str) -> Any:
    """MinAtar's booleans as floats, as Stable-Baselines3 cannot store booleans; other environments unchanged."""
    if env_id.startswith("MinAtar"):
        import minatar.gym

        minatar.gym.register_envs()
        bits = gymnasium.make(env_id)
        floats = gymnasium.spaces.Box(0.0, 1.0, bits.observation_space.shape, np.float32)
        return gymnasium.wrappers.TransformObservation(bits, lambda seen: seen.astype(np.float32), floats)
    return gymnasium.make(env_id)


def play(model: Any, environment: Any, episodes: int) -> list[float]:
    """Returns of greedy episodes with seeds not used in training."""
    returns = []
    for seed in range(1_700_000_000, 1_700_000_000 + episodes):
        observation, _ = environment.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            action, _ = model.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = environment.step(action)
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    return returns


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
