"""A user's project whose packages have common names."""

from pathlib import Path

import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.commands import run
from dqn_testing.server import running_server

pytestmark = pytest.mark.slow

ENVIRONMENT = """
import gymnasium as gym
import numpy as np

from client import NAME
from models.plant import Plant
from serving import LIMIT
from tests import SEED
from training import HORIZON


class PlantEnv(gym.Env):
    observation_space = gym.spaces.Box(-LIMIT, LIMIT, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.plant = Plant(SEED)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.plant.reset(), {}

    def step(self, action):
        self.steps += 1
        return self.plant.move(action), float(action), False, self.steps >= HORIZON, {}


gym.register(NAME, entry_point=PlantEnv)
"""
PLANT = """
import numpy as np


class Plant:
    def __init__(self, seed):
        self.level = seed

    def reset(self):
        self.level = 0
        return np.zeros(2, np.float32)

    def move(self, action):
        self.level += 2 * action - 1
        return np.array([self.level, action], np.float32)
"""
CONSTANTS = {"client": 'NAME = "Plant-v0"', "serving": "LIMIT = 99", "tests": "SEED = 1", "training": "HORIZON = 20"}
QUICK = ["--total-env-steps", 600, "--learning-starts", 100, "--eval-every", 300, "--eval-episodes", 2]
QUICK += ["--report-episodes", 2, "--gate-episodes", 2, "--hidden-sizes", 8]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's folder, which is the working directory of the commands."""
    for package in ("models", *CONSTANTS):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(CONSTANTS.get(package, ""))
    (tmp_path / "models/plant.py").write_text(PLANT)
    (tmp_path / "my_env.py").write_text(ENVIRONMENT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_packages_of_a_user_and_ours_do_not_collide(project: Path) -> None:
    """An environment that imports the project's own `models`, `training`, `serving`, `client` and `tests` is trained,
    evaluated, retrained and served, in our processes and in separate ones.
    """
    trained = run("dqn-train", "--env-id", "my_env:Plant-v0", "--num-envs", 2, "--vectorization", "async", *QUICK)
    assert trained.returncode == 0, trained.stderr
    repository = ModelRepository(project / "models/store")
    (model,) = repository.models()
    for command in (["dqn-evaluate", model, "--episodes", 2], ["dqn-retrain", "--once", "--name", model, *QUICK]):
        done = run(*map(str, command))
        assert done.returncode == 0, done.stderr
    with running_server(repository) as server:
        server.wait_ready()
        answer = server.post("/act", {"observation": [0, 0]}).json()
        assert (answer["action"], answer["model"]) == (1, model)
        assert server.stop() == 0
