"""Trains on pixels as `dqn-train` does, but without evaluations; prints one JSON line."""

import json
import os
import sys
import time

os.environ["THP_MEM_ALLOC_ENABLE"] = "1"  # as the command does

import torch
from pydantic import TypeAdapter

from dqn_models.policy import Policy
from dqn_training.config import DQNConfig
from dqn_training.envs.make import environment_for
from dqn_training.evaluation.play import play
from dqn_training.export.onnx_graph import export
from dqn_training.learning.loop import train
from dqn_training.learning.state import make_state


def main(words: str, episodes: int) -> None:
    """Trains with a configuration in JSON, then plays greedily with seeds not used in training."""
    torch.set_num_threads(1)
    config = TypeAdapter(DQNConfig).validate_json(words)
    environment = environment_for(config)
    state = make_state(config, environment, None)
    # CPU seconds, environment steps and gradient steps, after each step of every environment
    steps = [
        (time.process_time(), state.env_steps, state.agent.gradient_steps) for _ in train(config, environment, state)
    ]
    state.close()
    (began, before, _), *_, (ended, after, _) = (step for step in steps if step[2])
    found = {"speed": (after - before) / (ended - began), "gradient_steps": state.agent.gradient_steps, "mean": None}
    if episodes:
        policy = Policy(export(state.agent.policy_network, environment))
        played = play(policy, environment, 1_700_000_000, episodes, config.episode_step_limit)
        found["mean"] = float(played.returns.mean())
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
