"""DQN of Stable-Baselines3 or SBX with RL Zoo's settings; prints one JSON line. Runs in the peer's environment.

RL Zoo's settings are facts from its hyperparams/dqn.yml.
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
# No published settings: DQN's usual ones for MinAtar (Young & Tian, 2019), on a multilayer perceptron.
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
    """Trains, then plays greedily with seeds that no training uses; `env_steps` 0 means the settings' own."""
    if library == "sbx":
        from sbx import DQN
    else:
        import torch
        from stable_baselines3 import DQN

        torch.set_num_threads(1)
    settings = dict(MINATAR if env_id.startswith("MinAtar") else CARTPOLE)
    steps = env_steps or int(settings["total_timesteps"])
    settings.pop("total_timesteps", None)
    environment = _make(env_id)
    model: Any = DQN("MlpPolicy", environment, seed=seed, policy_kwargs={"net_arch": [256, 256]}, **settings)
    started = time.perf_counter()
    model.learn(steps)
    seconds = time.perf_counter() - started
    returns = _play(model, _make(env_id), episodes)
    print(json.dumps({"seconds": seconds, "env_steps": steps, "mean": np.mean(returns), "min": min(returns)}))


def _make(env_id: str) -> Any:
    if env_id.startswith("MinAtar"):
        import minatar.gym

        minatar.gym.register_envs()
        return gymnasium.wrappers.FlattenObservation(gymnasium.make(env_id))
    return gymnasium.make(env_id)


def _play(model: Any, environment: Any, episodes: int) -> list[float]:
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
