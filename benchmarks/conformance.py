"""schemathesis against a running dqn-serve, with all its checks, until enough requests were sent.

    .venv/bin/python benchmarks/conformance.py --cases 10000

Exits with 1 where an answer is not as /openapi.json says, or where the server logged an error.
"""

import sys
import tempfile
import time
from pathlib import Path

import tyro

from dqn_models.repository import ModelRepository
from dqn_testing.conformance import check
from dqn_testing.repositories import publish_discrete, publish_linear
from dqn_testing.server import running_server

_TOKEN = "correct-horse"  # noqa: S105  (of the server that is started here)


def main(cases: int = 10_000, examples: int = 100, seed: int = 0) -> None:
    """Args: how many requests at least, the most for each call and phase in a round, and the first round's seed."""
    began, sent = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        repository = ModelRepository(Path(folder) / "store")
        for bias in (0.0, 1.0):
            publish_linear(repository, bias=bias, promote=bias == 0)
        publish_discrete(repository)
        with running_server(repository, env={"DQN_API_TOKEN": _TOKEN}, max_waiting_seconds=3600) as server:
            server.wait_ready()
            while sent < cases:
                found = check(server.url, _TOKEN, examples=examples, seed=seed, folder=Path(folder), timeout=3600)
                if not found.is_conform:
                    sys.exit(found.report)
                sent, seed = sent + found.cases, seed + 1
                print(f"{sent} cases, no failure, {time.monotonic() - began:.0f} s")
            errors = [record for record in server.records if record.get("level") == "error"]
            if errors:
                sys.exit(f"The server logged {errors[0]}")


if __name__ == "__main__":
    tyro.cli(main)
