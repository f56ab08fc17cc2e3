"""Plays CartPole with a served policy, and prints the return of each episode and the mean.

python examples/play_cartpole.py --url http://127.0.0.1:8000 --episodes 5
python examples/play_cartpole.py --stream
"""

import argparse
import contextlib

import gymnasium

from dqn_client import PolicyClient, PolicyClientError, Stream


def play(policy: PolicyClient | Stream, seed: int) -> float:
    """The return of one episode."""
    environment = gymnasium.make("CartPole-v1")
    observation, _ = environment.reset(seed=seed)
    total, is_over = 0.0, False
    while not is_over:
        observation, reward, terminated, truncated, _ = environment.step(policy.act(observation).action)
        total, is_over = total + float(reward), terminated or truncated
    environment.close()
    return total


def main() -> None:
    """Parses the flags and plays."""
    parser = argparse.ArgumentParser(description="Play CartPole with a served policy.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="URL of dqn-serve (default: %(default)s)")
    parser.add_argument("--model", help="name of the model (default: the server's default model)")
    parser.add_argument("--episodes", type=int, default=5, help="number of episodes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first episode (default: %(default)s)")
    parser.add_argument(
        "--stream", action="store_true", help="act over a WebSocket instead of a request for each action"
    )
    flags = parser.parse_args()
    try:
        with (
            PolicyClient(flags.url, model=flags.model) as client,
            client.stream(pin=True) if flags.stream else contextlib.nullcontext(client) as policy,
        ):
            returns = [play(policy, seed) for seed in range(flags.seed, flags.seed + flags.episodes)]
    except PolicyClientError as error:
        parser.exit(1, f"{error}\n")
    except ValueError as error:  # an invalid --url
        parser.error(str(error))
    print("returns:", *returns)
    print("mean:", sum(returns) / len(returns))


if __name__ == "__main__":
    main()
