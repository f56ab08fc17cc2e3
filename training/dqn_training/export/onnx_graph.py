"""Exports a Q-network to ONNX by writing the nodes of each layer (nodes.py) directly.

PyTorch's exporter takes seconds, and its files contain paths of the machine. A Q-network here is a sequence of a few
known layers, so its graph can be written in a millisecond and reproducibly, byte for byte; see docs/adr/0002.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from torch import nn

from dqn_models.manifest import EnvironmentInfo, OnnxInfo, TensorSpec
from dqn_models.spaces import ActionSpace, ComponentActions, DiscreteSpace
from dqn_models.spaces.actions import layout_of
from dqn_training.export.nodes import Graph, write_layer

_Q_VALUES = "q_values"
OPSET = 20
IR_VERSION = 10

_ONNX_DTYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int64": TensorProto.INT64}


def export(q_network: nn.Sequential, environment: EnvironmentInfo, reward_scale: float = 1.0) -> bytes:
    """The policy as a serialized ONNX graph, from the leaves of an observation to `q_values` and the greedy `action`.

    The Q-values are in units of the environment's rewards: the network's are divided by `reward_scale`. The last layer
    of the network must be called `q_values`. Raises ValueError for a layer without an ONNX counterpart.
    """
    graph = Graph("observation")
    for name, layer in q_network.named_children():
        scaled = name == _Q_VALUES and reward_scale != 1
        write_layer(graph, f"scaled_{name}" if scaled else name, layer)
    if graph.value != _Q_VALUES and reward_scale != 1:
        graph.node("Div", _Q_VALUES, graph.constant("reward_scale", np.array(reward_scale, np.float32)))
    _write_action(graph, environment.action_space)
    info = onnx_info(environment)
    inputs, outputs = _value_infos(info.inputs), _value_infos(info.outputs)
    model = helper.make_model(
        helper.make_graph(graph.nodes, "policy", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="dqn-policy-server",
    )
    onnx.checker.check_model(model, full_check=True)
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


def onnx_info(environment: EnvironmentInfo) -> OnnxInfo:
    """The manifest's description of the graph for an environment."""
    space = environment.observation_space
    actions = environment.action_space
    q_values = TensorSpec(name="q_values", dtype="float32", shape=["batch", actions.n])
    return OnnxInfo(
        opset=OPSET,
        ir_version=IR_VERSION,
        inputs=[_tensor(leaf.input_name, leaf.space.tensor_dtype, leaf.space.tensor_shape) for leaf in space.leaves],
        outputs=[q_values, _tensor("action", actions.action_dtype, actions.tensor_shape)],
    )


def _write_action(graph: Graph, space: ActionSpace) -> None:
    """Adds the greedy action in the environment's form."""
    if isinstance(space, DiscreteSpace):
        graph.node("ArgMax", "action" if space.start == 0 else "action_index", axis=1, keepdims=0)
        if space.start != 0:
            graph.node("Add", "action", graph.constant("action_start", np.array(space.start, np.int64)))
        return
    if isinstance(space, ComponentActions) and space.branching:
        _write_branches(graph, space)
        return
    graph.node("ArgMax", "action_index", axis=1, keepdims=0)
    index, graph.value = graph.value, graph.constant("actions", space.action(np.arange(space.n)))
    graph.node("Gather", "action", index, axis=0)


def _write_branches(graph: Graph, space: ComponentActions) -> None:
    """The best value of each component: where its Q-values are highest, looked up among the values of all."""
    layout = layout_of(space.branches)
    branches, graph.value = graph.constant("branches", layout.positions), _Q_VALUES
    graph.node("Gather", "branch_q_values", branches, axis=1)  # [batch, branches, most of a branch]
    graph.node("ArgMax", "branch_index", axis=2, keepdims=0)
    graph.node("Add", "value_index", graph.constant("branch_offsets", layout.offsets))
    index, graph.value = graph.value, graph.constant("values", space.branch_values())
    shape = space.tensor_shape
    graph.node("Gather", "action" if len(shape) == 1 else "action_values", index, axis=0)
    if len(shape) != 1:
        graph.node("Reshape", "action", graph.constant("action_shape", np.array([-1, *shape], np.int64)))


def _tensor(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype.name, shape=["batch", *shape])


def _value_infos(tensors: list[TensorSpec]) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(value.name, _ONNX_DTYPES[value.dtype], value.shape) for value in tensors]
