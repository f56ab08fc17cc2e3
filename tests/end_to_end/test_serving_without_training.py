"""The server runs without torch, gymnasium and onnx."""

import os
from pathlib import Path

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_linear
from dqn_testing.server import running_server

BLOCKER = """
import sys

BLOCKED = {"torch", "gymnasium", "onnx", "onnxscript", "matplotlib", "dqn_training"}


class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked in this process")


sys.meta_path.insert(0, Blocker())
"""


def test_service_needs_no_learning_stack(tmp_path: Path) -> None:
    """With imports of torch, gymnasium and onnx blocked, the real server starts, answers, refreshes and stops."""
    store = ModelRepository(tmp_path / "store")
    publish_linear(store, promote=True)
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    with running_server(store, env={"PYTHONPATH": path}) as server:
        server.wait_ready()
        assert server.post("/act", {"observation": [0, 0, 1, 0]}).json()["action"] == 1
        assert server.post("/q-values", {"observations": [[0, 0, 1, 0]]}).json()["actions"] == [1]
        publish_linear(store, bias=1.0, promote=True)
        server.wait_log("refreshed", version=2)
        assert server.get("/openapi.json").status_code == 200
        assert server.stop() == 0
