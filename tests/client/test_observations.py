"""Observations and masks as environments give them, by every call and stream of both clients."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from dqn_models.manifest import BoxSpace, DiscreteSpace, EnvironmentInfo, OnnxInfo, TensorSpec
from dqn_models.repository import ModelRepository
from dqn_testing.repositories import draft, graph_onnx
from dqn_testing.server import Server, running_server
from tests.client.clients import open_client

Array = NDArray[Any]
SPACES = {  # what the environment observes: what the policy's input is
    "float32": "float32",
    "float64": "float32",
    "uint8": "uint8",
    "int8": "int64",
    "bool": "uint8",
}
N_ACTIONS = 3


def publish_box(store: ModelRepository, dtype: str) -> None:
    """Publishes a policy for Box([2, 2], dtype), called like the dtype; its Q-values are the first three elements."""
    tensor = SPACES[dtype]
    nodes = [
        helper.make_node("Cast", ["observation"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["q_values"]),
        helper.make_node("ArgMax", ["q_values"], ["action"], axis=1, keepdims=0),
    ]
    outputs: list[tuple[str, int, list[int | str]]] = [
        ("q_values", TensorProto.FLOAT, ["batch", N_ACTIONS]),
        ("action", TensorProto.INT64, ["batch"]),
    ]
    kind = getattr(TensorProto, {"float32": "FLOAT"}.get(tensor, tensor.upper()))
    graph = graph_onnx(
        nodes,
        [("observation", kind, ["batch", 2, 2])],
        outputs,
        {"weights": np.eye(4, N_ACTIONS, dtype=np.float32)},
    )
    changes: dict[str, Any] = {
        "onnx": OnnxInfo(
            opset=20,
            ir_version=10,
            inputs=[TensorSpec(name="observation", dtype=tensor, shape=["batch", 2, 2])],
            outputs=[
                TensorSpec(name="q_values", dtype="float32", shape=["batch", N_ACTIONS]),
                TensorSpec(name="action", dtype="int64", shape=["batch"]),
            ],
        ),
        "environment": EnvironmentInfo(
            id=f"Plant-{dtype}-v0",
            gymnasium_version="1.4.0",
            observation_space=BoxSpace(shape=[2, 2], dtype=dtype, low=0.0, high=1.0),
            action_space=DiscreteSpace(n=N_ACTIONS),
        ),
    }
    store.publish(draft(dtype, **changes), {"model.onnx": graph})
    store.promote(dtype, 1)


@pytest.fixture(scope="module")
def plants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one policy for each dtype that environments observe."""
    store = ModelRepository(tmp_path_factory.mktemp("plants"))
    for dtype in SPACES:
        publish_box(store, dtype)
    with running_server(store, env={"DQN_MODEL": "float32"}) as running:
        running.wait_ready()
        yield running


FORMS: dict[str, Callable[[Array], Any]] = {
    "array": lambda array: array,
    "tolist": lambda array: array.tolist(),
    "scalars": lambda array: [list(row) for row in array],
    "tuples": lambda array: tuple(tuple(row) for row in array),
    "frame stack": deque,
    "Fortran order": np.asfortranarray,
}


@pytest.mark.parametrize("dtype", SPACES)
@pytest.mark.parametrize("form", FORMS)
def test_observations_in_every_form(kind: str, plants: Server, dtype: str, form: str) -> None:
    """An observation is accepted as the array that `env.step` returns, as `tolist()` of it, and in between."""
    observation, other = np.array([[0, 1], [0, 1]], dtype), np.array([[0, 0], [1, 0]], dtype)
    give = FORMS[form]
    with open_client(kind, plants.url, model=dtype) as client:
        assert client.act(give(observation)).action == 1
        assert client.q_values(give(other)).q_values == (0.0, 0.0, 1.0)
        assert client.act_batch([give(observation), give(other)]).actions == (1, 2)
        assert client.act_batch(np.stack([observation, other])).actions == (1, 2)
        for encoding in ("msgpack", "json"):
            with client.stream(encoding=encoding) as stream:
                assert (stream.act(give(observation)).action, stream.act(give(other)).action) == (1, 2)


@pytest.mark.parametrize(
    "mask",
    [
        np.array([1, 0, 1], np.int8),
        np.array([1, 0, 1], np.int8).tolist(),
        np.array([True, False, True]),
        [np.bool_(1), np.bool_(0), np.bool_(1)],
        (True, False, True),
    ],
    ids=["int8", "tolist", "bool", "scalars", "tuple"],
)
def test_masks_in_every_form(kind: str, plants: Server, mask: Any) -> None:
    """A mask is accepted as `info["action_mask"]` has it, int8 of 0 and 1 by Gymnasium's convention, or as booleans."""
    observation = np.array([[0.5, 1], [0, 0]], np.float32)
    with open_client(kind, plants.url) as client:
        assert client.act(observation).action == 1
        assert client.act(observation, action_mask=mask).action == 0
        assert client.q_values(observation, action_mask=mask).action == 0
        assert client.act_batch([observation] * 2, action_mask=mask).actions == (0, 0)
        assert client.act_batch([observation] * 2, action_mask=[mask, [1, 1, 1]]).actions == (0, 1)
        for encoding in ("msgpack", "json"):
            with client.stream(encoding=encoding) as stream:
                assert stream.act(observation, action_mask=mask).action == 0
