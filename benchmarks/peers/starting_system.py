"""PyTorch's tutorial "DQN on CartPole" as published; as a script it trains and prints one JSON line.

It uses a deque of tensors, torch.cat for each batch, and a loop over the state dict for the target network.
"""

import json
import math
import random
import sys
import time
from collections import deque
from typing import Any, NamedTuple

import gymnasium
import torch
from torch import nn

EPISODES = 200


class Trained(NamedTuple):
    """The result of a run."""

    durations: list[int]
    seconds: float
    policy_net: nn.Sequential


def train(seed: int, episodes: int = EPISODES) -> Trained:
    """Trains once."""
    random.seed(seed)
    torch.manual_seed(seed)
    environment: gymnasium.Env[Any, Any] = gymnasium.make("CartPole-v1")
    environment.reset(seed=seed)
    policy_net, target_net = _network(), _network()
    target_net.load_state_dict(policy_net.state_dict())
    optimizer = torch.optim.AdamW(policy_net.parameters(), lr=1e-4, amsgrad=True)
    memory: deque[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor]] = deque(maxlen=10_000)
    durations: list[int] = []
    started, actions = time.perf_counter(), 0
    for _ in range(episodes):
        observation, _ = environment.reset()
        state: torch.Tensor | None = torch.tensor(observation).unsqueeze(0)
        over, length = False, 0
        while not over:
            assert state is not None  # noqa: S101  (None only after termination)
            epsilon = 0.05 + 0.85 * math.exp(-actions / 1_000)
            actions += 1
            explores = random.random() <= epsilon  # noqa: S311  (not for cryptography)
            with torch.no_grad():
                choice = environment.action_space.sample() if explores else int(policy_net(state).max(1).indices.item())
            observation, reward, terminated, truncated, _ = environment.step(choice)
            following = None if terminated else torch.tensor(observation).unsqueeze(0)
            memory.append((state, torch.tensor([[choice]]), following, torch.tensor([float(reward)])))
            state, length, over = following, length + 1, terminated or truncated
            if len(memory) >= 128:
                _optimize(policy_net, target_net, optimizer, random.sample(memory, 128))
            target, policy = target_net.state_dict(), policy_net.state_dict()
            for key in policy:
                target[key] = policy[key] * 0.005 + target[key] * 0.995
            target_net.load_state_dict(target)
        durations.append(length)
    return Trained(durations, time.perf_counter() - started, policy_net)


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))


def _optimize(policy_net: nn.Module, target_net: nn.Module, optimizer: torch.optim.Optimizer, batch: list[Any]) -> None:
    states, actions, following, rewards = zip(*batch, strict=True)
    not_final = torch.tensor([state is not None for state in following])
    values = torch.zeros(len(batch))
    with torch.no_grad():
        values[not_final] = target_net(torch.cat([state for state in following if state is not None])).max(1).values
    q_values = policy_net(torch.cat(states)).gather(1, torch.cat(actions))
    expected = values * 0.99 + torch.cat(rewards)
    loss = nn.functional.smooth_l1_loss(q_values, expected.unsqueeze(1))
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_value_(policy_net.parameters(), 100)
    optimizer.step()


def _returns(policy_net: nn.Module, episodes: int) -> list[float]:
    """Returns of greedy episodes with seeds not used in training."""
    environment: gymnasium.Env[Any, Any] = gymnasium.make("CartPole-v1")
    returns = []
    for seed in range(1_700_000_000, 1_700_000_000 + episodes):
        observation, _ = environment.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            with torch.no_grad():
                action = int(policy_net(torch.from_numpy(observation)).argmax())
            observation, reward, terminated, truncated, _ = environment.step(action)
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    return returns


def main(seed: int, episodes: int) -> None:
    """Trains for as many episodes as the tutorial without a GPU, then plays."""
    torch.set_num_threads(1)
    trained = train(seed)
    returns = _returns(trained.policy_net, episodes)
    figures = {"mean": sum(returns) / len(returns), "min": min(returns)}
    print(json.dumps({"seconds": trained.seconds, "env_steps": sum(trained.durations), **figures}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
