"""The server conforms to /openapi.json; `benchmarks/conformance.py` sends many more requests."""

from pathlib import Path

import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.conformance import check
from dqn_testing.fixtures import TOKEN
from dqn_testing.repositories import publish_discrete, publish_linear
from dqn_testing.server import running_server


@pytest.mark.slow
def test_schemathesis_finds_nothing(empty: ModelRepository, tmp_path: Path) -> None:
    """No request that schemathesis generates from the document gets an answer that the document does not allow."""
    publish_linear(empty, promote=True)
    publish_discrete(empty)
    with running_server(empty, env={"DQN_API_TOKEN": TOKEN}, max_waiting_seconds=3600) as server:
        server.wait_ready()
        found = check(server.url, TOKEN, examples=5, seed=1, folder=tmp_path, timeout=300)
        assert found.is_conform, found.report
        assert found.cases > 500
        assert not [record for record in server.records if record.get("level") == "error"]
