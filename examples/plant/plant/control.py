"""Controls the tank with a served policy; if the server does not answer in time, a simple rule takes over.

python -m plant.control --url http://127.0.0.1:8000 --episodes 5
python -m plant.control --rule
"""

import argparse
import logging
from collections.abc import Callable

import numpy as np

from dqn_client import PolicyClient, PolicyClientError, RetryPolicy
from plant.tank import Observation, Tank

MINUTES = 200
TIMEOUT_SECONDS = 0.5
"""The longest that the plant may wait for a decision."""

log = logging.getLogger("plant")

Decide = Callable[[Observation], int]


def rule(observation: Observation) -> int:
    """The previous controller: full below 0.9 m, off above 1.1 m, unchanged in between."""
    level, _, pump = observation
    return 2 if level < 0.9 else 0 if level > 1.1 else int(pump)


def play(decide: Decide, seed: int) -> float:
    """The return of one episode."""
    tank = Tank()
    observation, _ = tank.reset(seed=seed)
    total = 0.0
    for _ in range(MINUTES):
        observation, reward, is_lost, _, _ = tank.step(np.int64(decide(observation)))
        total += reward
        if is_lost:
            break
    return total


def report(decide: Decide, episodes: int) -> None:
    """Plays and prints the returns."""
    returns = [play(decide, seed) for seed in range(episodes)]
    print("returns:", *(f"{value:.1f}" for value in returns))
    print(f"mean: {sum(returns) / episodes:.1f}")


def main() -> None:
    """Parses the flags and plays."""
    parser = argparse.ArgumentParser(description="Control the tank with a served policy.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="URL of dqn-serve (default: %(default)s)")
    parser.add_argument("--model", default="tank", help="name of the model (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=5, help="number of episodes (default: %(default)s)")
    parser.add_argument("--rule", action="store_true", help="use only the rule, for comparison")
    flags = parser.parse_args()
    if flags.rule:
        report(rule, flags.episodes)
        return
    failures = 0
    with PolicyClient(flags.url, model=flags.model, timeout=TIMEOUT_SECONDS, retries=RetryPolicy(0)) as client:
        stream = client.stream()

        def decide(observation: Observation) -> int:
            nonlocal failures
            try:
                return stream.act(observation).action
            except PolicyClientError as error:
                failures += 1
                if failures == 1:  # logged, as a print to a closed pipe would end the control
                    log.warning("The rule takes over: %s", error)
                return rule(observation)

        report(decide, flags.episodes)
        stream.close()
    if failures:
        print(f"{failures} decisions were made by the rule.")


if __name__ == "__main__":
    main()
