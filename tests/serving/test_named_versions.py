"""Requests that name a version: they keep getting it, few stay loaded, and loading one delays nobody."""

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import draft, publish_linear
from dqn_testing.server import Server, running_server, wait_until

pytestmark = pytest.mark.slow

OBSERVATION: dict[str, Any] = {"observation": [0.1, 0.2, 0.3, 0.4]}
WIDTH = 2000
LARGE_BYTES = WIDTH * WIDTH * 4


def publish_large(store: ModelRepository) -> int:
    """Publishes a version of cartpole that takes long to verify and load; returns its number."""
    layers = {"first": np.zeros((4, WIDTH)), "middle": np.zeros((WIDTH, WIDTH)), "last": np.zeros((WIDTH, 2))}
    names = ["observation", "hidden", "deep", "q_values"]
    nodes = [
        helper.make_node("MatMul", [before, layer], [after])
        for layer, before, after in zip(layers, names, names[1:], strict=False)
    ]
    nodes.append(helper.make_node("ArgMax", ["q_values"], ["action"], axis=1, keepdims=0))
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", 4])],
        [
            helper.make_tensor_value_info("q_values", TensorProto.FLOAT, ["batch", 2]),
            helper.make_tensor_value_info("action", TensorProto.INT64, ["batch"]),
        ],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in layers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return store.publish(draft(), {"model.onnx": model.SerializeToString()}).version


def version_of(server: Server, **body: Any) -> int:
    """The version that answers."""
    return int(server.post("/act", OBSERVATION | body).json()["version"])


def resident_bytes(server: Server) -> int:
    """The process's resident memory."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024


def test_a_named_version_is_kept_across_refreshes(empty: ModelRepository) -> None:
    """Whatever is promoted, a request that names a version or an alias gets that one, in either API."""
    for _ in range(3):
        publish_linear(empty)
    empty.promote("cartpole", 1)
    empty.promote("cartpole", 2, alias="challenger")
    with running_server(empty, max_loaded_versions=1) as server:
        server.wait_ready()
        for champion in (2, 3, 1, 3):
            empty.promote("cartpole", champion)
            wait_until(lambda champion=champion: version_of(server) == champion, 20, "refreshed")  # type: ignore[misc]
            assert [version_of(server, version=number) for number in (1, 2, 3, 1)] == [1, 2, 3, 1]
            assert version_of(server, version="challenger") == 2
            tensor = {"name": "observation", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}
            infer = server.post("/v2/models/cartpole/versions/1/infer", {"inputs": [tensor]}).json()
            assert infer["model_version"] == "1"


def test_loading_a_version_delays_nobody(empty: ModelRepository) -> None:
    """While a large version is loaded for one request, others are answered, by the champion and by other versions."""
    publish_linear(empty, promote=True)
    publish_linear(empty)
    large = publish_large(empty)
    with running_server(empty) as server:
        server.wait_ready()
        assert version_of(server, version=2) == 2
        answered: list[int] = []
        waiting = threading.Thread(target=lambda: answered.append(version_of(server, version=large)))
        waiting.start()
        others = 0
        while not answered:
            assert (version_of(server), version_of(server, version=2)) == (1, 2)
            others += not answered
        waiting.join()
        assert answered == [large]
        assert others


def test_evicted_versions_are_freed(empty: ModelRepository) -> None:
    """With room for one large version, the others are freed: of 24 more loads, less than half stay in memory.

    What the allocators keep for themselves amounts to a few versions, however many were loaded.
    """
    publish_linear(empty, promote=True)
    large = [publish_large(empty) for _ in range(4)]
    with running_server(empty, max_loaded_versions=1) as server:
        server.wait_ready()
        for number in large:
            assert version_of(server, version=number) == number
        before = resident_bytes(server)
        for number in 6 * large:
            assert version_of(server, version=number) == number
        assert resident_bytes(server) - before < 12 * LARGE_BYTES
        assert server.get("/models/cartpole").json()["loaded_versions"] == [1, large[-1]]
