"""Stable-Baselines3's DQN on pixels with given settings; prints one JSON line. Runs in the peer's environment."""

import functools
import json
import sys
import time
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import DummyVecEnv
from train_stable_baselines import MINATAR, make_environment, minatar_network, play


def main(wanted: dict[str, Any]) -> None:
    """Trains, then plays greedily with seeds not used in training. Keys: DQNConfig's fields, and `episodes`."""
    torch.set_num_threads(1)
    make = functools.partial(_atari if wanted["env_id"].startswith("ALE/") else make_environment, wanted["env_id"])
    policy, network = _network(wanted["env_id"])
    settings = MINATAR | {
        "learning_rate": wanted["learning_rate"],
        "batch_size": wanted["batch_size"],
        "buffer_size": wanted["replay_capacity"],
        "learning_starts": wanted["learning_starts"],
        "train_freq": 1,  # a step of every environment
        "gradient_steps": wanted["num_envs"] // wanted["train_every"],
    }
    environments = DummyVecEnv([make] * wanted["num_envs"])
    model: Any = DQN(policy, environments, seed=wanted["seed"], policy_kwargs=network, **settings)
    learning: list[tuple[float, int]] = []  # CPU seconds and environment steps, from the first gradient step on

    def watch(_local: dict[str, Any], _global: dict[str, Any]) -> bool:
        if model.num_timesteps > settings["learning_starts"]:
            learning.append((time.process_time(), model.num_timesteps))
        return True

    model.learn(wanted["total_env_steps"], callback=watch)
    (began, before), (ended, after) = learning[0], learning[-1]
    returns = play(model, make(), wanted["episodes"])
    found = {"speed": (after - before) / (ended - began), "gradient_steps": model._n_updates}  # noqa: SLF001  (there is no public name)
    print(json.dumps(found | {"mean": float(np.mean(returns)) if returns else None}))


def _network(env_id: str) -> tuple[str, dict[str, Any]]:
    return ("CnnPolicy", {}) if env_id.startswith("ALE/") else ("MlpPolicy", minatar_network())


def _atari(env_id: str) -> Any:
    """Gymnasium's wrappers for Atari games, as in dqn-train; Stable-Baselines3's own are no faster."""
    import ale_py

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    game = gymnasium.make(env_id, frameskip=1)
    game = gymnasium.wrappers.AtariPreprocessing(game, noop_max=30, frame_skip=4, screen_size=84)
    return gymnasium.wrappers.FrameStackObservation(game, 4)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
