"""Small real artifacts for tests: a linear policy as ONNX and versions of it in a repository, created without torch."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dqn_models.manifest import (
    EnvironmentInfo,
    Evaluation,
    Manifest,
    ManifestDraft,
    ObservationStatistics,
    OnnxInfo,
    TensorSpec,
    TrainingInfo,
)
from dqn_models.repository import ModelRepository
from dqn_models.spaces import BoxSpace, DiscreteSpace

CARTPOLE_WEIGHTS = np.array([[0.0, 0.1], [0.0, 0.3], [0.0, 1.0], [0.0, 0.8]], dtype=np.float32)
"""Q-values of a linear CartPole policy, [4 observations, 2 actions]: push the way the pole falls."""
SPACES = {
    "float32": "float32",
    "float64": "float32",
    "uint8": "uint8",
    "int8": "int64",
    "bool": "uint8",
}
"""Of Box spaces: what the environment observes, and what the policy's input is."""


def linear_onnx(weights: np.ndarray[Any, Any] = CARTPOLE_WEIGHTS, bias: float = 0.0, start: int = 0) -> bytes:
    """A policy whose q_values are `observation @ weights + bias`, as a serialized ONNX graph."""
    size, n_actions = weights.shape
    constants = {
        "weights": weights.astype(np.float32),
        "bias": np.full(n_actions, bias, dtype=np.float32),
        "start": np.array(start, dtype=np.int64),
    }
    nodes = [
        helper.make_node("Gemm", ["observation", "weights", "bias"], ["q_values"]),
        helper.make_node("ArgMax", ["q_values"], ["index"], axis=1, keepdims=0),
        helper.make_node("Add", ["index", "start"], ["action"]),
    ]
    return graph_onnx(
        nodes,
        [("observation", TensorProto.FLOAT, ["batch", size])],
        [("q_values", TensorProto.FLOAT, ["batch", n_actions]), ("action", TensorProto.INT64, ["batch"])],
        constants,
    )


def discrete_onnx(n: int, n_actions: int) -> bytes:
    """A policy for Discrete(n) whose q_values are row `observation` of a repeated identity matrix."""
    table = np.eye(n_actions, dtype=np.float32)[np.arange(n) % n_actions]
    nodes = [
        helper.make_node("Gather", ["table", "observation"], ["q_values"], axis=0),
        helper.make_node("ArgMax", ["q_values"], ["action"], axis=1, keepdims=0),
    ]
    return graph_onnx(
        nodes,
        [("observation", TensorProto.INT64, ["batch"])],
        [("q_values", TensorProto.FLOAT, ["batch", n_actions]), ("action", TensorProto.INT64, ["batch"])],
        {"table": table},
    )


def graph_onnx(
    nodes: list[onnx.NodeProto],
    inputs: list[tuple[str, int, list[int | str]]],
    outputs: list[tuple[str, int, list[int | str]]],
    constants: dict[str, np.ndarray[Any, Any]],
) -> bytes:
    """Any graph, serialized."""
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    serialized: bytes = model.SerializeToString()
    return serialized


def draft(model: str = "cartpole", mean: float = 400.0, start: int = 0, **changes: Any) -> ManifestDraft:
    """A manifest draft that fits `linear_onnx()`; `changes` replace whole fields."""
    fields: dict[str, Any] = {
        "model": model,
        "onnx": OnnxInfo(
            opset=20,
            ir_version=10,
            inputs=[TensorSpec(name="observation", dtype="float32", shape=["batch", 4])],
            outputs=[
                TensorSpec(name="q_values", dtype="float32", shape=["batch", 2]),
                TensorSpec(name="action", dtype="int64", shape=["batch"]),
            ],
        ),
        "environment": EnvironmentInfo(
            id="CartPole-v1",
            gymnasium_version="1.4.0",
            observation_space=BoxSpace(shape=[4], dtype="float32", low=float("-inf"), high=float("inf")),
            action_space=DiscreteSpace(n=2, start=start),
            max_episode_steps=500,
            reward_threshold=475.0,
        ),
        "training": TrainingInfo(
            preset="test",
            config={},
            seed=0,
            env_steps=1,
            gradient_steps=1,
            episodes=1,
            wall_seconds=0.1,
            libraries={},
        ),
        "evaluation": Evaluation(
            episodes=10, seed=0, mean=mean, std=1.0, min=mean, max=mean, ci95=(mean, mean), mean_length=mean
        ),
        "observations": ObservationStatistics(mean=[0.0] * 4, std=[1.0] * 4, low=[-1.0] * 4, high=[1.0] * 4),
    }
    return ManifestDraft(**(fields | changes))


def publish_linear(
    repository: ModelRepository, model: str = "cartpole", *, bias: float = 0.0, promote: bool = False
) -> Manifest:
    """Publishes the linear CartPole policy; `bias` shifts its Q-values and so tells versions apart."""
    manifest = repository.publish(draft(model), {"model.onnx": linear_onnx(bias=bias)})
    if promote:
        repository.promote(model, manifest.version)
    return manifest


def publish_discrete(repository: ModelRepository, model: str = "lake", n: int = 16, n_actions: int = 4) -> Manifest:
    """Publishes and promotes a policy with a Discrete(n) observation space."""
    changes: dict[str, Any] = {
        "onnx": OnnxInfo(
            opset=20,
            ir_version=10,
            inputs=[TensorSpec(name="observation", dtype="int64", shape=["batch"])],
            outputs=[
                TensorSpec(name="q_values", dtype="float32", shape=["batch", n_actions]),
                TensorSpec(name="action", dtype="int64", shape=["batch"]),
            ],
        ),
        "environment": EnvironmentInfo(
            id="FrozenLake-v1",
            gymnasium_version="1.4.0",
            observation_space=DiscreteSpace(n=n),
            action_space=DiscreteSpace(n=n_actions),
        ),
    }
    manifest = repository.publish(draft(model, **changes), {"model.onnx": discrete_onnx(n, n_actions)})
    repository.promote(model, manifest.version)
    return manifest


def publish_box(store: ModelRepository, dtype: str) -> None:
    """Publishes a policy for Box([2, 2], dtype), named after the dtype; its Q-values are the first three elements."""
    tensor = SPACES[dtype]
    nodes = [
        helper.make_node("Cast", ["observation"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["q_values"]),
        helper.make_node("ArgMax", ["q_values"], ["action"], axis=1, keepdims=0),
    ]
    outputs: list[tuple[str, int, list[int | str]]] = [
        ("q_values", TensorProto.FLOAT, ["batch", 3]),
        ("action", TensorProto.INT64, ["batch"]),
    ]
    kind = getattr(TensorProto, {"float32": "FLOAT"}.get(tensor, tensor.upper()))
    graph = graph_onnx(
        nodes,
        [("observation", kind, ["batch", 2, 2])],
        outputs,
        {"weights": np.eye(4, 3, dtype=np.float32)},
    )
    changes: dict[str, Any] = {
        "onnx": OnnxInfo(
            opset=20,
            ir_version=10,
            inputs=[TensorSpec(name="observation", dtype=tensor, shape=["batch", 2, 2])],
            outputs=[
                TensorSpec(name="q_values", dtype="float32", shape=["batch", 3]),
                TensorSpec(name="action", dtype="int64", shape=["batch"]),
            ],
        ),
        "environment": EnvironmentInfo(
            id=f"Plant-{dtype}-v0",
            gymnasium_version="1.4.0",
            observation_space=BoxSpace(shape=[2, 2], dtype=dtype, low=0.0, high=1.0),
            action_space=DiscreteSpace(n=3),
        ),
    }
    store.publish(draft(dtype, **changes), {"model.onnx": graph})
    store.promote(dtype, 1)
