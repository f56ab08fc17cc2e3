"""Runs schemathesis with all its checks against a running dqn-serve until enough requests have been sent.

    .venv/bin/python benchmarks/conformance.py --cases 10000

Exits with 1 if a response violates /openapi.json or the server logs an error.
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

_TOKEN = "correct-horse"  # noqa: S105  (for the server started here)


def main(cases: int = 10_000, examples: int = 100, seed: int = 0) -> None:
    """Tests.

    Args:
        cases: minimum number of requests
        examples: maximum number of requests per call and phase in a round
        seed: seed of the first round
    """
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
