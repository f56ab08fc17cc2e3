"""The server of the serving tests, and both kinds of client."""

from collections.abc import Iterator
from typing import Any

import pytest

from dqn_testing.fixtures import TOKEN, empty, repository, secure, server, spaced, spaced_store, tls_files
from dqn_testing.server import Server
from tests.client.clients import KINDS, QUICK, open_client

__all__ = ["empty", "repository", "secure", "server", "spaced", "spaced_store", "tls_files"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which client: each test that uses this fixture runs with both."""
    return str(request.param)


@pytest.fixture
def client(kind: str, server: Server) -> Iterator[Any]:
    """A client of that server, with its token."""
    with open_client(kind, server.url, token=TOKEN, retries=QUICK) as opened:
        yield opened
