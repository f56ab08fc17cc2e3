"""Fixtures for several test folders; a conftest.py imports those that its folder uses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_discrete, publish_linear
from dqn_testing.server import Server, running_server
from dqn_testing.spaced_models import publish_spaces
from dqn_testing.tls import TlsFiles

TOKEN = "correct-horse"  # noqa: S105  (of the servers that these fixtures start)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> ModelRepository:
    """`cartpole` with versions 1 (champion), 2 (challenger) and 3; `lake` with a Discrete observation space."""
    store = ModelRepository(tmp_path_factory.mktemp("store"))
    publish_linear(store, promote=True)
    publish_linear(store, bias=1.0)
    publish_linear(store, bias=2.0)
    store.promote("cartpole", 2, alias="challenger")
    publish_discrete(store)
    return store


@pytest.fixture(scope="module")
def server(repository: ModelRepository) -> Iterator[Server]:
    """A server of that repository with the admin calls on."""
    tokens = repository.root.with_name("tokens")
    tokens.write_text("alice:battery-staple\n")
    tokens.chmod(0o600)
    limits = {"max_body_bytes": 100_000, "max_batch_size": 64}
    with running_server(repository, env={"DQN_API_TOKEN": TOKEN}, api_token_file=tokens, **limits) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def empty(tmp_path: Path) -> ModelRepository:
    """A repository without any model."""
    return ModelRepository(tmp_path / "store")


@pytest.fixture
def tls_files(tmp_path: Path) -> TlsFiles:
    """A fresh certificate."""
    return TlsFiles(tmp_path)


@pytest.fixture
def secure(repository: ModelRepository, tls_files: TlsFiles) -> Iterator[Server]:
    """A server of that repository that speaks HTTPS."""
    with running_server(repository, env={"DQN_API_TOKEN": TOKEN}, **tls_files.settings) as running:
        assert running.url.startswith("https://")
        yield running


@pytest.fixture(scope="module")
def spaced_store(tmp_path_factory: pytest.TempPathFactory) -> ModelRepository:
    """A model for each kind of space, and one for CartPole."""
    store = ModelRepository(tmp_path_factory.mktemp("spaces"))
    publish_spaces(store)
    return store


@pytest.fixture(scope="module")
def spaced(spaced_store: ModelRepository) -> Iterator[Server]:
    """A server of all of them."""
    with running_server(spaced_store, env={"DQN_MODEL": "cartpole"}) as running:
        running.wait_ready()
        yield running
