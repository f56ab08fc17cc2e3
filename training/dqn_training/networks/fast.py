"""Flat parameters, and forward and backward passes without autograd for the common layers.

A Q-network is a sequence of layers, so the chain rule is a loop over them from back to front. For networks of this size
autograd spends as much time on bookkeeping as on arithmetic. The operations here are those that autograd would call, so
gradients are identical to the last bit, except for convolutions, which differ by rounding: they use channels-last
memory, which takes a quarter of the time for the first layer of Mnih et al. (2015).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from dqn_training.networks.branching import BranchingGrad, BranchingHead
from dqn_training.networks.indexed import IndexedLinear, picked_rows
from dqn_training.networks.leaves import Inputs, LeafEncoders

_SMALL_IMAGE = 4_096
"""Images with at most this many elements stay channels-first: converting them would take longer than it saves."""


def flatten_parameters(network: nn.Module) -> nn.Parameter:
    """Moves all parameters and their gradients into one flat tensor, of which they become views.

    The optimizer, gradient clipping and the target update are then one operation each instead of one per layer.
    """
    parameters = list(network.parameters())
    flat = nn.Parameter(torch.cat([parameter.detach().ravel() for parameter in parameters]))
    flat.grad = torch.zeros_like(flat)
    offset = 0
    for parameter in parameters:
        end = offset + parameter.numel()
        parameter.data = flat.data[offset:end].view_as(parameter)
        parameter.grad = flat.grad[offset:end].view_as(parameter)
        offset = end
    return flat


def forward_of(layers: Iterable[nn.Module]) -> Callable[[Inputs], Tensor]:
    """The forward pass of a sequence of layers without gradients and without nn.Module's overhead.

    Parameters must stay the same tensor objects; intermediate values may be overwritten.
    """
    operations = [_operation(layer) for layer in layers]

    def forward(inputs: Inputs) -> Tensor:
        values: Any = inputs
        for operation in operations:
            values = operation(values)
        return values  # type: ignore[no-any-return]  # a tensor, after the first layer

    return forward


def _operation(layer: nn.Module) -> Callable[[Any], Tensor]:
    if type(layer) is nn.Linear:
        return partial(functional.linear, weight=layer.weight, bias=layer.bias)
    if type(layer) is nn.LayerNorm:
        shape = list(layer.normalized_shape)
        return partial(torch.layer_norm, normalized_shape=shape, weight=layer.weight, bias=layer.bias, eps=layer.eps)
    if isinstance(layer, nn.ReLU):
        return torch.relu_
    if isinstance(layer, LeafEncoders):
        branches = [forward_of(branch.children()) for branch in layer.branches]
        return lambda leaves: torch.cat([branch(leaf) for branch, leaf in zip(branches, leaves, strict=True)], dim=1)
    return layer.forward


class LayerGrad(Protocol):
    """A layer that stores what its backward pass needs from the forward pass."""

    def forward(self, inputs: Tensor, rows: int | None) -> Tensor:
        """The layer's outputs [batch, ...], with gradients for the first `rows`; may overwrite the inputs.

        None stands for all rows: a slice of all of them would cost microseconds.
        """

    def backward(self, gradient: Tensor) -> Tensor | None:
        """Sets the gradients of the layer's parameters; returns the gradient of its inputs, if needed.

        `gradient`, that of its outputs, and the result are [rows, ...].
        """


class Backpropagation:
    """Forward and backward passes of a sequence of layers whose parameters were flattened by flatten_parameters."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        """Layers without a backward pass in this module are differentiated by autograd, one at a time."""
        learned = [index for index, layer in enumerate(layers) if any(True for _ in layer.parameters())]
        first = learned[0] if learned else len(layers)  # nothing before it needs a gradient
        self.first = first
        self.encode = forward_of(layers[:first])
        """Maps observations to the inputs of the first trainable layer, number `first`."""
        self._layers = [_layer_grad(layer, is_first=not index) for index, layer in enumerate(layers[first:])]

    def forward(self, encoded: Inputs, rows: int | None = None) -> Tensor:
        """The network's outputs [batch, ...] for encoded observations, with gradients for the first `rows` or all.

        Call it, and `backward`, inside torch.no_grad.
        """
        values: Any = encoded
        for layer in self._layers:
            values = layer.forward(values, rows)
        return values  # type: ignore[no-any-return]  # a tensor, after the first layer

    def backward(self, gradient: Tensor) -> None:
        """Sets every parameter's `grad` from the gradient [rows, ...] of the latest outputs."""
        following: Tensor | None = gradient
        for layer in reversed(self._layers):
            assert following is not None  # noqa: S101  (only the first layer returns None)
            following = layer.backward(following)


def _layer_grad(layer: nn.Module, *, is_first: bool) -> LayerGrad:
    if type(layer) is nn.Linear and layer.bias is not None:
        return _Linear(layer, is_first=is_first)
    if type(layer) is nn.Conv2d and layer.bias is not None and layer.padding == (0, 0):
        return _Conv2d(layer, is_first=is_first)
    if isinstance(layer, BranchingHead):
        return BranchingGrad(layer, _layer_grad(layer.outputs, is_first=False))
    return _LAYERS.get(type(layer), _Differentiated)(layer)


class _Linear:
    def __init__(self, layer: nn.Linear, *, is_first: bool) -> None:
        """The first trainable layer does not compute the gradient of its inputs."""
        self._weight, self._bias = layer.weight, layer.bias
        self._is_first = is_first

    def forward(self, inputs: Tensor, rows: int | None) -> Tensor:
        self._inputs = inputs if rows is None else inputs[:rows]
        return functional.linear(inputs, self._weight, self._bias)

    def backward(self, gradient: Tensor) -> Tensor | None:
        torch.mm(gradient.t(), self._inputs, out=self._weight.grad)
        torch.sum(gradient, 0, out=self._bias.grad)
        return None if self._is_first else gradient @ self._weight


class _Conv2d:
    def __init__(self, layer: nn.Conv2d, *, is_first: bool) -> None:
        """The first layer skips the gradient of its inputs, the pixels, which would take most of the backward pass."""
        assert layer.bias is not None  # noqa: S101  (checked by _layer_grad)
        self._weight, self._bias = layer.weight, layer.bias
        self._stride, self._dilation, self._groups = layer.stride, layer.dilation, layer.groups
        self._wanted = (not is_first, True, True)

    def forward(self, inputs: Tensor, rows: int | None) -> Tensor:
        if inputs[0].numel() > _SMALL_IMAGE:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        self._inputs = inputs if rows is None else inputs[:rows]
        return functional.conv2d(inputs, self._weight, self._bias, self._stride, 0, self._dilation, self._groups)

    def backward(self, gradient: Tensor) -> Tensor | None:
        if self._inputs[0].numel() > _SMALL_IMAGE:
            gradient = gradient.contiguous(memory_format=torch.channels_last)
        by_inputs: Tensor | None
        by_inputs, by_weight, by_bias = torch.ops.aten.convolution_backward(
            gradient,
            self._inputs,
            self._weight,
            bias_sizes=[len(self._weight)],
            stride=self._stride,
            padding=(0, 0),
            dilation=self._dilation,
            transposed=False,
            output_padding=(0, 0),
            groups=self._groups,
            output_mask=self._wanted,
        )
        _set_gradients((self._weight, self._bias), (by_weight, by_bias))
        return by_inputs


class _IndexedLinear:
    """Always a first layer, so the gradient of its inputs is not needed."""

    def __init__(self, layer: IndexedLinear) -> None:
        self._weight, self._bias = layer.weight, layer.bias

    def forward(self, inputs: Tensor, rows: int | None) -> Tensor:
        self._inputs = inputs if rows is None else inputs[:rows]
        return picked_rows(self._weight, inputs) + self._bias

    def backward(self, gradient: Tensor) -> None:
        by_weight = self._weight.grad
        assert by_weight is not None  # noqa: S101  (flatten_parameters made it)
        by_weight.zero_().t().index_add_(0, self._inputs, gradient)
        torch.sum(gradient, 0, out=self._bias.grad)


class _Leaves:
    """The first layer for observations with several leaves: each branch gets its part of the gradient."""

    def __init__(self, layer: LeafEncoders) -> None:
        self._branches = [Backpropagation(list(branch.children())) for branch in layer.branches]
        self._widths = layer.widths

    def forward(self, inputs: Any, rows: int | None) -> Tensor:
        features = [
            branch.forward(branch.encode(leaf), rows) for branch, leaf in zip(self._branches, inputs, strict=True)
        ]
        return torch.cat(features, dim=1)

    def backward(self, gradient: Tensor) -> None:
        for branch, part in zip(self._branches, torch.split(gradient, self._widths, dim=1), strict=True):
            branch.backward(part.contiguous())


class _LayerNorm:
    def __init__(self, layer: nn.LayerNorm) -> None:
        self._layer = layer
        self._shape = list(layer.normalized_shape)

    def forward(self, inputs: Tensor, rows: int | None) -> Tensor:
        layer = self._layer
        outputs, mean, deviation = torch.native_layer_norm(inputs, self._shape, layer.weight, layer.bias, layer.eps)
        if rows is None:
            self._saved = (inputs, self._shape, mean, deviation)
        else:
            self._saved = (inputs[:rows], self._shape, mean[:rows], deviation[:rows])
        return outputs

    def backward(self, gradient: Tensor) -> Tensor:
        weight, bias = self._layer.weight, self._layer.bias
        found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.native_layer_norm_backward(
            gradient, *self._saved, weight, bias, [True, True, True]
        )
        _set_gradients((weight, bias), found[1:])
        return found[0]


class _ReLU:
    def __init__(self, _layer: nn.ReLU) -> None:
        pass

    def forward(self, inputs: Tensor, rows: int | None) -> Tensor:
        outputs = inputs.relu_()
        self._outputs = outputs if rows is None else outputs[:rows]
        return outputs

    def backward(self, gradient: Tensor) -> Tensor:
        by_inputs: Tensor = torch.ops.aten.threshold_backward(gradient, self._outputs, 0)
        return by_inputs


class _Flatten:
    def __init__(self, layer: nn.Flatten) -> None:
        self._layer = layer

    def forward(self, inputs: Tensor, rows: int | None) -> Tensor:  # noqa: ARG002  (a LayerGrad)
        self._shape = (-1, *inputs.shape[1:])
        outputs: Tensor = self._layer(inputs)
        return outputs

    def backward(self, gradient: Tensor) -> Tensor:
        return gradient.view(self._shape)


class _Differentiated:
    """Any other layer, by autograd."""

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer
        self._parameters = list(layer.parameters())

    def forward(self, inputs: Tensor, rows: int | None) -> Tensor:
        with torch.enable_grad():
            self._inputs = inputs[:rows].detach().requires_grad_(inputs.is_floating_point())
            self._outputs: Tensor = self._layer(self._inputs)
        outputs: Tensor = self._outputs.detach()
        return outputs if rows is None else torch.cat((outputs, self._layer(inputs[rows:])))

    def backward(self, gradient: Tensor) -> Tensor | None:
        for parameter in self._parameters:
            parameter.grad.zero_()  # type: ignore[union-attr]  # flatten_parameters made it
        torch.autograd.backward(self._outputs, gradient)
        return self._inputs.grad


def _set_gradients(parameters: Iterable[Tensor], gradients: Iterable[Tensor]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad.copy_(gradient)  # type: ignore[union-attr]  # flatten_parameters made it


_LAYERS: dict[type[nn.Module], Callable[..., LayerGrad]] = {
    IndexedLinear: _IndexedLinear,
    LeafEncoders: _Leaves,
    nn.Flatten: _Flatten,
    nn.LayerNorm: _LayerNorm,
    nn.ReLU: _ReLU,
}
