"""ONNX counterparts of layers: for each layer type of a Q-network, a function that writes its nodes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from dqn_training.networks.branching import BranchingHead
from dqn_training.networks.encoders import Column, ManyHot, OneHot, PixelScale, Planes
from dqn_training.networks.heads import CategoricalMean, DuelingHead, QuantileMean
from dqn_training.networks.indexed import Index, IndexedLinear, IndexedNoisyLinear, Indices, SummedLinear
from dqn_training.networks.leaves import LeafEncoders
from dqn_training.networks.noisy import NoisyLinear
from dqn_training.networks.normalize import LIMIT, Normalize


class Graph:
    """The nodes and constants so far; `value` is the name of the latest node's output."""

    def __init__(self, value: str) -> None:
        """Creates an empty graph whose input is called `value`."""
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.value = value

    def constant(self, name: str, array: NDArray[Any] | Tensor) -> str:
        """Adds a constant and returns its name."""
        if isinstance(array, Tensor):
            array = array.detach().cpu().numpy()
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, operator: str, output: str, *constants: str, **attributes: Any) -> None:
        """Adds a node that takes the latest value and the named constants; its output becomes the latest value."""
        self.nodes.append(helper.make_node(operator, [self.value, *constants], [output], name=output, **attributes))
        self.value = output


def write_layer(graph: Graph, name: str, layer: nn.Module) -> None:
    """Adds the nodes of a layer. Raises ValueError for a layer without an ONNX counterpart."""
    writer = _WRITERS.get(type(layer))
    if writer is None:
        raise ValueError(f"Layer {name} is a {type(layer).__name__}, which has no ONNX counterpart here.")
    writer(graph, name, layer)


def _one_hot(graph: Graph, name: str, layer: OneHot) -> None:
    graph.node("Sub", f"{name}.index", graph.constant(f"{name}.start", np.array(layer.start, np.int64)))
    depth = graph.constant(f"{name}.depth", np.array(layer.n, np.int64))
    graph.node("OneHot", name, depth, graph.constant(f"{name}.values", np.array([0, 1], np.float32)))


def _indices(graph: Graph, name: str, layer: Indices) -> None:
    """Clips each component, as `_index` does."""
    _reshape(graph, f"{name}.rows", (-1, len(layer.counts)))
    graph.node("Sub", f"{name}.from_start", graph.constant(f"{name}.starts", layer.starts))
    graph.node("Max", f"{name}.at_least", graph.constant(f"{name}.first", np.array(0, np.int64)))
    graph.node("Min", f"{name}.at_most", graph.constant(f"{name}.last", layer.counts - 1))
    graph.node("Add", name, graph.constant(f"{name}.offsets", layer.offsets))


def _normalize(graph: Graph, name: str, layer: Normalize) -> None:
    graph.node("Sub", f"{name}.centred", graph.constant(f"{name}.mean", layer.mean))
    graph.node("Mul", f"{name}.scaled", graph.constant(f"{name}.scale", layer.scale))
    low, high = (graph.constant(f"{name}.{end}", np.array(end, np.float32)) for end in (-LIMIT, LIMIT))
    graph.node("Clip", name, low, high)


def _many_hot(graph: Graph, name: str, layer: ManyHot) -> None:
    depth = graph.constant(f"{name}.depth", np.array(layer.n, np.int64))
    graph.node("OneHot", f"{name}.each", depth, graph.constant(f"{name}.values", np.array([0, 1], np.float32)))
    _sum(graph, name)


def _summed_linear(graph: Graph, name: str, layer: SummedLinear) -> None:
    table = graph.constant(f"{name}.table", layer.weight.t())
    indices, graph.value = graph.value, table
    graph.node("Gather", f"{name}.each", indices, axis=0)
    _sum(graph, f"{name}.sum")
    graph.node("Add", name, graph.constant(f"{name}.bias", layer.bias))


def _sum(graph: Graph, name: str) -> None:
    """Sums over the components, [batch, k, n] to [batch, n]."""
    graph.node("ReduceSum", name, graph.constant(f"{name}.axes", np.array([1], np.int64)), keepdims=0)


def _column(graph: Graph, name: str, _: Column) -> None:
    _reshape(graph, name, (-1, 1))


def _leaves(graph: Graph, name: str, layer: LeafEncoders) -> None:
    """Gives the graph one input per leaf instead of its initial one."""
    features = []
    for index, (leaf, branch) in enumerate(zip(layer.input_names, layer.branches, strict=True)):
        graph.value = leaf
        for child, part in branch.named_children():
            write_layer(graph, f"{name}.{index}.{child}", part)
        features.append(graph.value)
    graph.value = features[0]
    graph.node("Concat", name, *features[1:], axis=1)


def _index(graph: Graph, name: str, layer: Index) -> None:
    """Clips, so that zeros, which servers warm up with, run even if they are not valid observations."""
    graph.node("Sub", f"{name}.from_start", graph.constant(f"{name}.start", np.array(layer.start, np.int64)))
    first = graph.constant(f"{name}.first", np.array(0, np.int64))
    graph.node("Clip", name, first, graph.constant(f"{name}.last", np.array(layer.n - 1, np.int64)))


def _indexed_linear(graph: Graph, name: str, layer: IndexedLinear | IndexedNoisyLinear) -> None:
    """Looks up one row per index, bias included; noisy layers use their mean weights."""
    table = graph.constant(f"{name}.rows", layer.weight.t() + layer.bias)
    index, graph.value = graph.value, table
    graph.node("Gather", name, index, axis=0)


def _planes(graph: Graph, name: str, layer: Planes) -> None:
    graph.node("Transpose", f"{name}.ordered", perm=[0, *(dimension + 1 for dimension in layer.order)])
    graph.node("Reshape", name, graph.constant(f"{name}.shape", np.array([-1, *layer.shape], np.int64)))


def _pixel_scale(graph: Graph, name: str, layer: PixelScale) -> None:
    graph.node("Cast", f"{name}.float", to=TensorProto.FLOAT)
    graph.node("Mul", name, graph.constant(f"{name}.factor", np.array(layer.factor, np.float32)))


def _convolution(graph: Graph, name: str, layer: nn.Conv2d) -> None:
    assert layer.bias is not None  # noqa: S101  (encoders.py makes it with one, and without padding)
    weight = graph.constant(f"{name}.weight", layer.weight)
    graph.node("Conv", name, weight, graph.constant(f"{name}.bias", layer.bias), strides=list(layer.stride))


def _flatten(graph: Graph, name: str, _: nn.Flatten) -> None:
    graph.node("Flatten", name, axis=1)


def _linear(graph: Graph, name: str, layer: nn.Linear | NoisyLinear) -> None:
    """Noisy layers use their mean weights."""
    weight = graph.constant(f"{name}.weight", layer.weight)
    graph.node("Gemm", name, weight, graph.constant(f"{name}.bias", layer.bias), transB=1)


def _layer_norm(graph: Graph, name: str, layer: nn.LayerNorm) -> None:
    scale = graph.constant(f"{name}.weight", layer.weight)
    bias = graph.constant(f"{name}.bias", layer.bias)
    graph.node("LayerNormalization", name, scale, bias, axis=-len(layer.normalized_shape), epsilon=layer.eps)


def _relu(graph: Graph, name: str, _: nn.ReLU) -> None:
    graph.node("Relu", name)


def _unflatten(graph: Graph, name: str, layer: nn.Unflatten) -> None:
    _reshape(graph, name, (-1, *layer.unflattened_size))


def _reshape(graph: Graph, name: str, shape: tuple[int, ...]) -> None:
    graph.node("Reshape", name, graph.constant(f"{name}.shape", np.array(shape, np.int64)))


def _mean(graph: Graph, name: str, axis: int, *, keep: bool) -> None:
    axes = graph.constant(f"{name}.axes", np.array([axis], np.int64))
    graph.node("ReduceMean", name, axes, keepdims=int(keep))


def _sequential(graph: Graph, name: str, layer: nn.Sequential) -> None:
    *_, last = (child for child, _ in layer.named_children())
    for child, part in layer.named_children():
        write_layer(graph, name if child == last else f"{name}.{child}", part)


def _dueling(graph: Graph, name: str, layer: DuelingHead) -> None:
    features = graph.value
    _sequential(graph, f"{name}.value", layer.value)
    if len(layer.shape) > 1:
        _reshape(graph, f"{name}.value_rows", (-1, 1, *layer.shape[1:]))
    value, graph.value = graph.value, features
    _sequential(graph, f"{name}.advantage", layer.advantage)
    if len(layer.shape) > 1:
        _reshape(graph, f"{name}.advantage_rows", (-1, *layer.shape))
    advantage = graph.value
    graph.node("Add", f"{name}.sum", value)
    total, graph.value = graph.value, advantage
    _mean(graph, f"{name}.mean", 1, keep=True)
    mean, graph.value = graph.value, total
    graph.node("Sub", name, mean)


def _branching(graph: Graph, name: str, layer: BranchingHead) -> None:
    features, (head, value_stream) = graph.value, layer.folded()
    if value_stream is None:
        write_layer(graph, name, head)
        return
    write_layer(graph, f"{name}.value", value_stream)
    value, graph.value = graph.value, features
    write_layer(graph, f"{name}.advantage", head)
    graph.node("Add", name, value)


def _categorical_mean(graph: Graph, name: str, layer: CategoricalMean) -> None:
    graph.node("Softmax", f"{name}.probabilities", axis=-1)
    graph.node("MatMul", name, graph.constant(f"{name}.values", layer.values))


def _quantile_mean(graph: Graph, name: str, _: QuantileMean) -> None:
    _mean(graph, name, 2, keep=False)


_WRITERS: dict[type[nn.Module], Callable[[Graph, str, Any], None]] = {
    OneHot: _one_hot,
    Index: _index,
    Indices: _indices,
    ManyHot: _many_hot,
    Normalize: _normalize,
    SummedLinear: _summed_linear,
    Column: _column,
    LeafEncoders: _leaves,
    IndexedLinear: _indexed_linear,
    IndexedNoisyLinear: _indexed_linear,
    Planes: _planes,
    PixelScale: _pixel_scale,
    nn.Conv2d: _convolution,
    nn.Flatten: _flatten,
    nn.Linear: _linear,
    nn.LayerNorm: _layer_norm,
    nn.ReLU: _relu,
    nn.Sequential: _sequential,
    nn.Unflatten: _unflatten,
    NoisyLinear: _linear,
    DuelingHead: _dueling,
    BranchingHead: _branching,
    CategoricalMean: _categorical_mean,
    QuantileMean: _quantile_mean,
}
