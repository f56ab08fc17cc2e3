"""Plays CartPole with a served policy, and prints each episode's return and their mean.

python examples/play_cartpole.py --url http://127.0.0.1:8000 --episodes 5
"""

import argparse

import gymnasium

from dqn_client import PolicyClient, PolicyClientError


def play(client: PolicyClient, seed: int) -> float:
    """The return of one episode."""
    environment = gymnasium.make("CartPole-v1")
    observation, _ = environment.reset(seed=seed)
    total, is_over = 0.0, False
    while not is_over:
        observation, reward, terminated, truncated, _ = environment.step(client.act(observation).action)
        total, is_over = total + float(reward), terminated or truncated
    environment.close()
    return total


def main() -> None:
    """Reads the flags and plays."""
    parser = argparse.ArgumentParser(description="Play CartPole with a served policy.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of dqn-serve (default: %(default)s)")
    parser.add_argument("--model", help="whose policy plays (default: the server's)")
    parser.add_argument("--episodes", type=int, default=5, help="how many to play (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first episode (default: %(default)s)")
    flags = parser.parse_args()
    try:
        with PolicyClient(flags.url, model=flags.model) as client:
            returns = [play(client, seed) for seed in range(flags.seed, flags.seed + flags.episodes)]
    except PolicyClientError as error:
        parser.exit(1, f"{error}\n")
    print("returns:", *returns)
    print("mean:", sum(returns) / len(returns))


if __name__ == "__main__":
    main()
