"""Policies of any space of observations and actions, as linear ONNX graphs created without torch."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from dqn_models.manifest import EnvironmentInfo, Manifest, ObservationStatistics, OnnxInfo, TensorSpec
from dqn_models.repository import ModelRepository
from dqn_models.spaces import ActionSpace, ComponentActions, ObservationSpace
from dqn_testing.repositories import draft, graph_onnx

_KINDS = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int64": TensorProto.INT64}


def publish_space(
    store: ModelRepository, model: str, observations: ObservationSpace, actions: ActionSpace, *left_out: str
) -> Manifest:
    """Publishes and promotes a policy whose Q-values are a random linear map of all elements of an observation.

    `left_out` are the names of the leaves that the manifest leaves out.
    """
    inputs = [_tensor(leaf.input_name, leaf.space) for leaf in observations.leaves]
    action = TensorSpec(name="action", dtype=actions.action_dtype.name, shape=["batch", *actions.tensor_shape])
    outputs = [TensorSpec(name="q_values", dtype="float32", shape=["batch", actions.n]), action]
    constants = {
        "weights": np.random.default_rng(0).normal(size=(observations.size, actions.n)).astype(np.float32),
    }
    nodes = []
    for place, (leaf, tensor) in enumerate(zip(observations.leaves, inputs, strict=True)):
        constants[f"size_{place}"] = np.array([-1, leaf.space.size], np.int64)
        nodes.append(helper.make_node("Cast", [tensor.name], [f"floats_{place}"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Reshape", [f"floats_{place}", f"size_{place}"], [f"flat_{place}"]))
    nodes += [
        helper.make_node("Concat", [f"flat_{place}" for place, _ in enumerate(inputs)], ["all"], axis=1),
        helper.make_node("MatMul", ["all", "weights"], ["q_values"]),
        *_action_nodes(actions, constants),
    ]
    zeros = [0.0] * observations.described_elements
    changes: dict[str, Any] = {
        "observations": ObservationStatistics(mean=zeros, std=zeros, low=zeros, high=zeros),
        "onnx": OnnxInfo(opset=20, ir_version=10, inputs=inputs, outputs=outputs),
        "environment": EnvironmentInfo(
            id=f"{model}-v0",
            gymnasium_version="1.4.0",
            observation_space=observations,
            left_out=list(left_out),
            action_space=actions,
        ),
    }
    graph = graph_onnx(nodes, [_value(each) for each in inputs], [_value(each) for each in outputs], constants)
    manifest = store.publish(draft(model, **changes), {"model.onnx": graph})
    store.promote(model, manifest.version)
    return manifest


def _action_nodes(actions: ActionSpace, constants: dict[str, Any]) -> list[Any]:
    """The nodes from `q_values` to `action`; adds their constants. Where actions branch, one by one."""
    if not isinstance(actions, ComponentActions) or not actions.branching:
        constants["actions"] = actions.action(np.arange(actions.n))
        return [
            helper.make_node("ArgMax", ["q_values"], ["index"], axis=1, keepdims=0),
            helper.make_node("Gather", ["actions", "index"], ["action"]),
        ]
    nodes, sizes = [], np.array(actions.branches)
    for branch, last in enumerate(sizes.cumsum()):
        constants[f"ends_{branch}"] = np.array([last - sizes[branch], last])
        constants[f"values_{branch}"] = actions.branch_values()[last - sizes[branch] : last]
        nodes += [
            helper.make_node("Split", [f"ends_{branch}"], [f"first_{branch}", f"last_{branch}"], num_outputs=2),
            helper.make_node("Slice", ["q_values", f"first_{branch}", f"last_{branch}", "one"], [f"group_{branch}"]),
            helper.make_node("ArgMax", [f"group_{branch}"], [f"index_{branch}"], axis=1, keepdims=1),
            helper.make_node("Gather", [f"values_{branch}", f"index_{branch}"], [f"value_{branch}"]),
        ]
    constants["one"], constants["shape"] = np.array([1]), np.array([-1, *actions.tensor_shape])
    values = [f"value_{branch}" for branch, _ in enumerate(sizes)]
    nodes.append(helper.make_node("Concat", values, ["row"], axis=1))
    return [*nodes, helper.make_node("Reshape", ["row", "shape"], ["action"])]


def _tensor(name: str, space: Any) -> TensorSpec:
    return TensorSpec(name=name, dtype=space.tensor_dtype.name, shape=["batch", *space.tensor_shape])


def _value(tensor: TensorSpec) -> tuple[str, int, list[int | str]]:
    return tensor.name, _KINDS[tensor.dtype], tensor.shape
