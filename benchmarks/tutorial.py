"""The preset `tutorial` beside the PyTorch tutorial written in its usual way: the same curve, how many steps a second.

    .venv/bin/python benchmarks/tutorial.py --seeds 10

Mean duration of the last 100 of 200 episodes, whose spread over seeds is large: compare the means with their errors.
"""

import dataclasses
import math
import random
import time
from collections import deque
from collections.abc import Callable
from statistics import mean, stdev
from typing import Any, NamedTuple

import gymnasium
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import nn

from training.experience.environments import environment_for
from training.learning.loop import train
from training.learning.state import make_state
from training.presets import PRESETS

EPISODES = 200


class Run(NamedTuple):
    """One seed of one system."""

    durations: list[int]
    seconds: float

    @property
    def last(self) -> float:
        """Mean duration of the last 100 episodes."""
        return mean(self.durations[-100:])

    @property
    def speed(self) -> float:
        """Environment steps a second."""
        return sum(self.durations) / self.seconds


def usual_way(seed: int) -> Run:
    """The starting system: a deque of tensors, torch.cat, a loop over the state dict."""
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
    for _ in range(EPISODES):
        observation, _ = environment.reset()
        state: torch.Tensor | None = torch.tensor(observation).unsqueeze(0)
        over, length = False, 0
        while not over:
            assert state is not None  # noqa: S101  (only a terminated episode has none)
            epsilon = 0.05 + 0.85 * math.exp(-actions / 1_000)
            actions += 1
            explores = random.random() <= epsilon  # noqa: S311  (no secrets here)
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
    return Run(durations, time.perf_counter() - started)


def preset(seed: int) -> Run:
    """Ours."""
    config = dataclasses.replace(PRESETS["tutorial"], seed=seed, max_episodes=EPISODES)
    environment = environment_for(config)
    state = make_state(config, environment, None)
    started = time.perf_counter()
    for _ in train(config, environment, state):
        pass
    state.close()
    return Run([episode.length for episode in state.episodes], time.perf_counter() - started)


def main(seeds: int = 10, first: int = 0) -> None:
    """Args: how many seeds, and the first of them."""
    torch.set_num_threads(1)
    systems: dict[str, Callable[[int], Run]] = {"usual way": usual_way, "preset tutorial": preset}
    runs: dict[str, list[Run]] = {name: [] for name in systems}
    table = Table("seed", *(f"{name}: {fact}" for name in systems for fact in ("last 100", "steps/s")))
    for seed in range(first, first + seeds):  # interleaved, so that both meet the same noise
        for name, system in systems.items():
            runs[name].append(system(seed))
        table.add_row(
            str(seed), *(f"{x:,.1f}" for name in systems for x in (runs[name][-1].last, runs[name][-1].speed))
        )
    table.add_section()
    cells = []
    for name in systems:
        last = [run.last for run in runs[name]]
        error = stdev(last) / math.sqrt(len(last)) if len(last) > 1 else math.nan
        cells += [f"{mean(last):.1f} +- {error:.1f}", f"{mean(run.speed for run in runs[name]):,.0f}"]
    table.add_row("mean", *cells)
    Console(width=120).print(table)


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


if __name__ == "__main__":
    tyro.cli(main)
