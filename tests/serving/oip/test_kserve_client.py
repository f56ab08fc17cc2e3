"""KServe's REST client, unmodified, against a real server.

Its package needs older releases of some of our dependencies, so it runs in a separate environment.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.peers import peer_python
from dqn_testing.server import Server

KSERVE = "kserve==0.21.0"
CALLS = Path(__file__).with_name("kserve_calls.py")


@pytest.fixture(scope="module")
def kserve_python() -> Path:
    """A Python that has KServe."""
    return peer_python("kserve", [KSERVE])


@pytest.mark.long
def test_kserve_client(server: Server, repository: ModelRepository, kserve_python: Path) -> None:
    """Health, inference in every form, exploring and errors work with KServe's client."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    told = subprocess.run(
        [kserve_python, CALLS, server.url], capture_output=True, text=True, check=True, env=environment
    )
    found = json.loads(told.stdout.splitlines()[-1])
    assert [found[name] for name in ("live", "ready", "model ready", "unknown ready")] == [True, True, True, False]
    observations = np.random.default_rng(7).normal(size=(6, 4)).astype(np.float32)
    q_values, actions = repository.load_policy("cartpole", 1).run(observations)
    explored = found["answers"].pop("exploring")
    for answer in found["answers"].values():
        assert (answer["id"], answer["model"]) == ("42", "cartpole")
        assert np.array_equal(np.array(answer["q_values"], np.float32), q_values)
        assert answer["action"] == actions.tolist()
    native = server.post("/act", {"observations": observations.tolist(), "epsilon": 1.0, "seed": 5}).json()
    assert (explored["action"], explored["propensity"]) == (native["actions"], native["propensity"])
    assert list(found["answers"]) == ["json", "binary", "binary answer", "mixed answer"]
    assert "There is no model 'pong' here" in found["error"]
