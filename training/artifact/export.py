"""Q-network to ONNX: one node for each layer, written out directly.

PyTorch's exporter takes seconds, and its file holds paths of the machine. A Q-network here is a sequence of a few known
layers, so that its graph can be written in a millisecond, byte for byte the same each time; see docs/adr/0002.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from models.manifest import DiscreteSpace, EnvironmentInfo, OnnxInfo, TensorSpec
from training.experience.environments import observation_dtype, observation_shape
from training.learning.networks import OneHot, PixelScale

OPSET = 20
IR_VERSION = 10

_ONNX_DTYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int64": TensorProto.INT64}


class _Graph:
    """Nodes and constants so far; `value` is the name of the latest layer's output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.value = "observation"

    def constant(self, name: str, array: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, operator: str, output: str, *constants: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(operator, [self.value, *constants], [output], name=output, **attributes))
        self.value = output


def _one_hot(graph: _Graph, name: str, layer: OneHot) -> None:
    graph.node("Sub", f"{name}.index", graph.constant(f"{name}.start", np.array(layer.start, np.int64)))
    depth = graph.constant(f"{name}.depth", np.array(layer.n, np.int64))
    graph.node("OneHot", name, depth, graph.constant(f"{name}.values", np.array([0, 1], np.float32)))


def _pixel_scale(graph: _Graph, name: str, _: PixelScale) -> None:
    graph.node("Cast", f"{name}.float", to=TensorProto.FLOAT)
    graph.node("Mul", name, graph.constant(f"{name}.factor", np.array(1 / 255, np.float32)))


def _flatten(graph: _Graph, name: str, _: nn.Flatten) -> None:
    graph.node("Flatten", name, axis=1)


def _linear(graph: _Graph, name: str, layer: nn.Linear) -> None:
    weight = graph.constant(f"{name}.weight", layer.weight.detach().numpy())
    graph.node("Gemm", name, weight, graph.constant(f"{name}.bias", layer.bias.detach().numpy()), transB=1)


def _layer_norm(graph: _Graph, name: str, layer: nn.LayerNorm) -> None:
    scale = graph.constant(f"{name}.weight", layer.weight.detach().numpy())
    bias = graph.constant(f"{name}.bias", layer.bias.detach().numpy())
    graph.node("LayerNormalization", name, scale, bias, axis=-1, epsilon=layer.eps)


def _relu(graph: _Graph, name: str, _: nn.ReLU) -> None:
    graph.node("Relu", name)


_WRITERS: dict[type[nn.Module], Callable[[_Graph, str, Any], None]] = {
    OneHot: _one_hot,
    PixelScale: _pixel_scale,
    nn.Flatten: _flatten,
    nn.Linear: _linear,
    nn.LayerNorm: _layer_norm,
    nn.ReLU: _relu,
}


def export(q_network: nn.Sequential, environment: EnvironmentInfo) -> bytes:
    """The policy as a serialised ONNX graph: observation -> q_values and greedy action (see DESIGN, "ONNX graph").

    The last layer of the network must be called `q_values`. Raises ValueError for a layer without an ONNX counterpart.
    """
    graph = _Graph()
    for name, layer in q_network.named_children():
        writer = _WRITERS.get(type(layer))
        if writer is None:
            raise ValueError(f"Layer {name} is a {type(layer).__name__}, which has no ONNX counterpart here.")
        writer(graph, name, layer)
    start = environment.action_space.start
    graph.node("ArgMax", "action" if start == 0 else "action_index", axis=1, keepdims=0)
    if start != 0:
        graph.node("Add", "action", graph.constant("action_start", np.array(start, np.int64)))
    info = onnx_info(environment)
    inputs, outputs = _value_infos(info.inputs), _value_infos(info.outputs)
    model = helper.make_model(
        helper.make_graph(graph.nodes, "policy", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="dqn-policy-server",
    )
    onnx.checker.check_model(model, full_check=True)
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised


def onnx_info(environment: EnvironmentInfo) -> OnnxInfo:
    """What the manifest says of the graph for an environment."""
    space = environment.observation_space
    shape = () if isinstance(space, DiscreteSpace) else observation_shape(space)
    q_values = TensorSpec(name="q_values", dtype="float32", shape=["batch", environment.action_space.n])
    return OnnxInfo(
        opset=OPSET,
        ir_version=IR_VERSION,
        inputs=[TensorSpec(name="observation", dtype=observation_dtype(space).name, shape=["batch", *shape])],
        outputs=[q_values, TensorSpec(name="action", dtype="int64", shape=["batch"])],
    )


def _value_infos(tensors: list[TensorSpec]) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(value.name, _ONNX_DTYPES[value.dtype], value.shape) for value in tensors]
