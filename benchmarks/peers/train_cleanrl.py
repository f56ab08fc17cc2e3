"""CleanRL's dqn.py, unmodified, from a checkout; prints one JSON line. Runs in the peer's environment."""

import contextlib
import json
import runpy
import sys
import tempfile
import time
from pathlib import Path

import gymnasium
import numpy as np
import torch


def main(checkout: str, seed: int, env_steps: int, episodes: int) -> None:
    """Trains for `env_steps` steps, then plays greedily with seeds not used in training."""
    torch.set_num_threads(1)
    script = Path(checkout).resolve() / "cleanrl/dqn.py"
    sys.path.insert(0, str(Path(checkout).resolve()))
    sys.argv = [str(script), "--seed", str(seed), "--total-timesteps", str(env_steps), "--no-cuda"]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(None):
        started = time.perf_counter()
        q_network = runpy.run_path(str(script), run_name="__main__")["q_network"]
        seconds = time.perf_counter() - started
    environment = gymnasium.make("CartPole-v1")
    returns = []
    for episode_seed in range(1_700_000_000, 1_700_000_000 + episodes):
        observation, _ = environment.reset(seed=episode_seed)
        total, over = 0.0, False
        while not over:
            with torch.no_grad():
                action = int(q_network(torch.from_numpy(observation)).argmax())
            observation, reward, terminated, truncated, _ = environment.step(action)
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    print(json.dumps({"seconds": seconds, "env_steps": env_steps, "mean": np.mean(returns), "min": min(returns)}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
