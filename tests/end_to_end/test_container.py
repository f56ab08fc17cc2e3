"""The serving image, actually built and run."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium as gym
import httpx
import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.commands import free_port
from dqn_testing.repositories import publish_linear
from dqn_testing.server import wait_until
from tests.end_to_end.containers import BASE, USER, Container, Engine, find_engine, output

pytestmark = pytest.mark.container

IMAGE = "dqn-policy-server:test"
MAX_ADDED_BYTES = 220_000_000
EPISODES = 5
ABSENT = ["torch", "gymnasium", "onnx", "pip", "dqn_training", "dqn_client"]


@pytest.fixture(scope="module")
def engine() -> Engine:
    """The container engine, with the image built."""
    engine = find_engine()
    output(engine.prepare)
    output([*engine.build, IMAGE, "--target", "serving", "."])
    return engine


@pytest.fixture
def port() -> int:
    """A free port: containers share the host's network."""
    return free_port()


@pytest.fixture
def url(port: int) -> str:
    """Where the container answers."""
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def container(engine: Engine, port: int, url: str) -> Iterator[Container]:
    """A container of the unchanged image, read-only and ready."""
    with engine.container(IMAGE, "--env", f"DQN_PORT={port}") as container:
        wait_until(answers(url, 200), 60, "ready")
        yield container


def answers(url: str, status: int) -> Callable[[], bool]:
    """Whether /readyz answers with this status."""

    def check() -> bool:
        try:
            return httpx.get(f"{url}/readyz").status_code == status
        except httpx.TransportError:
            return False

    return check


def healthcheck(engine: Engine) -> list[str]:
    """The image's healthcheck as a command."""
    image = engine.inspect(IMAGE)
    kind, *command = (image.get("Healthcheck") or image["Config"]["Healthcheck"])["Test"]
    assert kind == "CMD"
    return list(command)


def test_the_image_plays_cartpole_with_its_own_policy(container: Container, url: str) -> None:
    """Without any mount the image answers /act with a policy that balances the pole to the end of every episode."""
    environment = gym.make("CartPole-v1")
    assert container.execute("true").returncode == 0
    with httpx.Client(base_url=url) as client:
        for seed in range(EPISODES):
            observation, _ = environment.reset(seed=seed)
            steps, over = 0, False
            while not over:
                action = client.post("/act", json={"observation": observation.tolist()}).json()["action"]
                observation, _, terminated, truncated, _ = environment.step(action)
                steps, over = steps + 1, terminated or truncated
            assert steps == 500


def test_the_image_runs_unprivileged_and_reports_its_health(container: Container, engine: Engine) -> None:
    """It runs as its own user on a read-only root, passes its health check, and exits with 0 on SIGTERM."""
    assert container.execute("id", "-u").stdout.strip() == str(USER)
    assert "Read-only file system" in container.execute("touch", "/models/x").stderr
    health = container.execute(*healthcheck(engine))
    assert health.returncode == 0, health.stderr
    assert container.stop() == 0


def test_the_image_has_nothing_that_serving_does_not_need(container: Container, engine: Engine) -> None:
    """It has no training stack and no installer, and adds at most 220 MB to its base image."""
    program = f"import importlib.util as u; print([name for name in {ABSENT} if u.find_spec(name)])"
    found = container.execute("python", "-c", program)
    assert found.stdout.strip() == "[]", found.stderr
    added = engine.inspect(IMAGE)["Size"] - engine.inspect(BASE)["Size"]
    print(f"The image adds {added / 1e6:.1f} MB to its base.")
    assert added <= MAX_ADDED_BYTES


def test_every_command_in_the_image_works(container: Container) -> None:
    """The image has only the commands of serving, of the repository and of experience, and each of them works."""
    found = container.execute("sh", "-c", "ls /opt/dqn/bin | grep ^dqn-").stdout.split()
    assert found == ["dqn-experience", "dqn-models", "dqn-serve"]
    for command in found:
        done = container.execute(command, "--help")
        assert done.returncode == 0, done.stderr
    assert container.execute("dqn-models", "verify").stdout.endswith("cartpole version 1: ok\n")
    empty = container.execute("dqn-experience", "stat", "--store", "none", "--json")
    assert json.loads(empty.stdout)["log"]["files"] == 0, empty.stderr


def test_a_mounted_repository_replaces_the_built_in_one(engine: Engine, port: int, url: str, tmp_path: Path) -> None:
    """With an empty mounted repository the server is not ready; once a version is published there, it serves that."""
    store = tmp_path / "store"
    store.mkdir(mode=0o755)
    with engine.container(IMAGE, "--env", f"DQN_PORT={port}", "--volume", f"{store}:/models:ro") as container:
        wait_until(answers(url, 503), 60, "up")
        assert container.execute(*healthcheck(engine)).returncode == 1
        umask = os.umask(0o022)
        publish_linear(ModelRepository(store), "mounted", promote=True)
        os.umask(umask)
        wait_until(answers(url, 200), 30, "ready")
        assert container.execute(*healthcheck(engine)).returncode == 0
        answer = httpx.post(f"{url}/act", json={"observation": [0, 0, 0.1, 0]}).json()
        assert answer == {"action": 1, "model": "mounted", "version": 1}
