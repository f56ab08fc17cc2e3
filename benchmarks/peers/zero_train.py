"""Trains one system of benchmarks/zero_config.py once and plays the result; prints one JSON line.

Runs in the system's own environment: zero_train.py SYSTEM ENV_ID SEED STEPS EPISODES LIMIT [SETTINGS or CHECKOUT].
"""

import contextlib
import json
import runpy
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zero_environments

Act = Callable[[Any, dict[str, Any]], Any]
"""From an observation and the environment's info to an action."""
FIRST_SEED = 1_700_000_000
"""Seed of the first evaluation episode; each further one adds 1. No system trains with these seeds."""


def random_policy(env_id: str, seed: int, _: int, __: str) -> Act:
    """No training: the policy with score 0."""
    space = zero_environments.make(env_id).action_space
    space.seed(seed)
    return lambda _, __: space.sample()


def stable_baselines(library: str, env_id: str, seed: int, steps: int, settings: str) -> Act:
    """DQN of Stable-Baselines3 or SBX with its defaults, or with settings given as JSON."""
    if library == "sbx":
        from sbx import DQN

        environment = zero_environments.make_flat(env_id)
    else:
        import torch
        from stable_baselines3 import DQN

        torch.set_num_threads(1)
        environment = zero_environments.make(env_id)
    model: Any = DQN("MlpPolicy", environment, seed=seed, **json.loads(settings or "{}"))
    model.learn(steps)
    return lambda observation, _: np.int64(model.predict(observation, deterministic=True)[0])


def cleanrl(env_id: str, seed: int, steps: int, checkout: str) -> Act:
    """CleanRL's dqn.py, unmodified, from a checkout; it only accepts flat observations."""
    import gymnasium
    import torch

    torch.set_num_threads(1)
    gymnasium.register("zero/Flat-v0", lambda **_: zero_environments.make_flat(env_id))
    script = Path(checkout).resolve() / "cleanrl/dqn.py"
    sys.path.insert(0, str(Path(checkout).resolve()))
    sys.argv = [str(script), f"--seed={seed}", f"--total-timesteps={steps}", "--env-id=zero/Flat-v0", "--no-cuda"]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(sys.stderr):
        q_network = runpy.run_path(str(script), run_name="__main__")["q_network"]

    def act(observation: Any, _: dict[str, Any]) -> Any:
        with torch.no_grad():
            return int(q_network(torch.Tensor(observation)).argmax())

    return act


def ours(_: str, __: int, ___: int, version: str) -> Act:
    """No training: plays a published ONNX file as it is served, with masks if it was trained with masks."""
    from dqn_models.policy import Policy

    policy = Policy(Path(version, "model.onnx").read_bytes())
    masked = json.loads(Path(version, "manifest.json").read_text())["environment"].get("action_mask") == "info"

    def act(observation: Any, info: dict[str, Any]) -> Any:
        q_values, actions = policy.run(np.asarray(observation, policy.observation_dtype)[None])
        return np.where(info["action_mask"], q_values[0], -np.inf).argmax() if masked else actions[0]

    return act


def play(act: Act, environment: Any, episodes: int, limit: int) -> list[float]:
    """Returns of episodes with fixed seeds, each truncated after `limit` steps."""
    returns = []
    for seed in range(FIRST_SEED, FIRST_SEED + episodes):
        observation, info = environment.reset(seed=seed)
        total = 0.0
        for _step in range(limit):
            observation, reward, terminated, truncated, info = environment.step(act(observation, info))
            total += float(reward)
            if terminated or truncated:
                break
        returns.append(total)
    return returns


def main(system: str, env_id: str, seed: int, steps: int, episodes: int, limit: int, more: str = "") -> None:
    """Prints one line: CPU seconds from the process's start to the trained policy, and statistics of the returns."""
    systems: dict[str, Callable[..., Act]] = {"random": random_policy, "ours": ours, "cleanrl": cleanrl}
    with contextlib.redirect_stdout(sys.stderr):
        if system in systems:
            act = systems[system](env_id, seed, steps, more)
        else:
            act = stable_baselines(system, env_id, seed, steps, more)
        cpu_seconds = time.process_time()
        flat = system in ("sbx", "cleanrl")
        environment = (zero_environments.make_flat if flat else zero_environments.make)(env_id)
        returns = play(act, environment, episodes, limit)
    statistics = {"mean": np.mean(returns), "std": np.std(returns), "min": min(returns)}
    rounded = {name: round(float(value), 3) for name, value in statistics.items()}
    print(json.dumps({"cpu_seconds": round(cpu_seconds, 1), **rounded}))


if __name__ == "__main__":
    words = sys.argv[1:]
    main(words[0], words[1], *map(int, words[2:6]), *words[6:])
