"""The hand-written backward pass gives what autograd gives."""

import copy

import pytest
import torch
from torch import nn

from dqn_training.networks.encoders import OneHot, PixelScale
from dqn_training.networks.fast import Backpropagation, flatten_parameters, forward_of
from dqn_training.networks.heads import DuelingHead
from dqn_training.networks.indexed import Index, IndexedLinear, IndexedNoisyLinear
from dqn_training.networks.noisy import Noise, NoisyLinear

NETWORKS = {
    "linear": nn.Sequential(nn.Linear(4, 3)),
    "without bias": nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)),
    "mlp": nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)),
    "normalized": nn.Sequential(nn.Linear(4, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3)),
    "one-hot": nn.Sequential(OneHot(5, -2), nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2)),
    "indexed": nn.Sequential(Index(5, -2), IndexedLinear(5, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 2)),
    "indexed and noisy": nn.Sequential(Index(5, -2), IndexedNoisyLinear(5, 8, 0.5), nn.ReLU(), nn.Linear(8, 2)),
    "indexed and dueling": nn.Sequential(
        Index(5, -2), DuelingHead(nn.Sequential(IndexedLinear(5, 1)), nn.Sequential(IndexedLinear(5, 2)), (2,))
    ),
    "pixels": nn.Sequential(PixelScale(), nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 2)),
    "unknown layers": nn.Sequential(nn.Tanh(), nn.Linear(4, 8), nn.Softplus(), nn.Linear(8, 2), nn.LayerNorm(2)),
    "learns first of all": nn.Sequential(nn.PReLU(), nn.Linear(4, 3)),
}
CONVOLUTIONS = {
    "one": nn.Sequential(PixelScale(), nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(484, 2)),
    "several": nn.Sequential(
        PixelScale(), nn.Conv2d(3, 8, 4, 2), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2)
    ),
    "normalized": nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.LayerNorm([4, 10, 10]), nn.ReLU(), nn.Flatten(), nn.Linear(400, 2)
    ),
    "dilated, in groups": nn.Sequential(
        nn.Conv2d(3, 6, 3, dilation=2, groups=3), nn.ReLU(), nn.Flatten(), nn.Linear(384, 2)
    ),
    "padded": nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(576, 2)),
    "padded by name": nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), nn.Flatten(), nn.Linear(576, 2)),
    "padded with mirror images": nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.Flatten(), nn.Linear(576, 2)
    ),
}


def observations(name: str) -> torch.Tensor:
    """A batch of seven that suits a network."""
    torch.manual_seed(1)
    if name == "one-hot" or name.startswith("indexed"):
        return torch.randint(-2, 3, (7,))
    if name == "pixels":
        return torch.randint(0, 256, (7, 3, 2, 2), dtype=torch.uint8)
    return torch.randn(7, 4)


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_and_gradients_are_those_of_autograd(name: str) -> None:
    """Outputs and every parameter's gradient agree to the last bit, even if earlier gradients are still there."""
    network = NETWORKS[name]
    Noise(network, torch.Generator().manual_seed(0))
    reference = copy.deepcopy(network)
    flat, expected = flatten_parameters(network), flatten_parameters(reference)
    assert flat.grad is not None
    assert expected.grad is not None
    inputs = observations(name)
    outputs = reference(inputs.clone())
    gradient = torch.randn_like(outputs)
    outputs.backward(gradient)
    backpropagation = Backpropagation(list(network))
    flat.grad.fill_(7.0)
    with torch.no_grad():
        assert torch.equal(backpropagation.forward(backpropagation.encode(inputs.clone()), len(inputs)), outputs)
        backpropagation.backward(gradient)
    assert torch.equal(flat.grad, expected.grad)


@pytest.mark.parametrize("network", [*NETWORKS.items(), *CONVOLUTIONS.items()], ids=lambda item: item[0])
def test_rows_that_are_not_learned_from_change_no_gradient(network: tuple[str, nn.Sequential]) -> None:
    """All rows have the outputs that they have alone, and the gradients come from the first rows only."""
    name, layers = network
    Noise(layers, torch.Generator().manual_seed(0))
    if layers in CONVOLUTIONS.values():
        inputs = torch.rand(7, 3, 12, 12) * (255 if isinstance(layers[0], PixelScale) else 1)
    else:
        inputs = observations(name)
    flat = flatten_parameters(layers)
    assert flat.grad is not None
    backpropagation = Backpropagation(list(layers))
    with torch.no_grad():
        alone = backpropagation.forward(backpropagation.encode(inputs[:3].clone()), 3)
        gradient = torch.randn_like(alone)
        backpropagation.backward(gradient)
        expected = flat.grad.clone()
        together = backpropagation.forward(backpropagation.encode(inputs.clone()), 3)
        torch.testing.assert_close(together[:3], alone)
        torch.testing.assert_close(together, layers(inputs))
        backpropagation.backward(gradient)
    torch.testing.assert_close(flat.grad, expected)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_gradients_of_convolutions_are_those_of_autograd_up_to_rounding(name: str) -> None:
    """Outputs and every parameter's gradient, for pixels and for numbers."""
    torch.manual_seed(1)
    network = CONVOLUTIONS[name]
    reference = copy.deepcopy(network)
    flat, expected = flatten_parameters(network), flatten_parameters(reference)
    inputs = torch.randint(0, 256, (7, 3, 12, 12), dtype=torch.uint8)
    if not isinstance(network[0], PixelScale):
        inputs = inputs / 255
    outputs = reference(inputs)
    gradient = torch.randn_like(outputs)
    outputs.backward(gradient)
    backpropagation = Backpropagation(list(network))
    with torch.no_grad():
        torch.testing.assert_close(backpropagation.forward(backpropagation.encode(inputs), len(inputs)), outputs)
        backpropagation.backward(gradient)
    torch.testing.assert_close(flat.grad, expected.grad)


@pytest.mark.parametrize(("indexed", "dense"), [(IndexedLinear, nn.Linear), (IndexedNoisyLinear, NoisyLinear)])
@pytest.mark.parametrize("training", [True, False])
def test_an_indexed_layer_computes_what_a_linear_one_does_with_one_hot_rows(
    indexed: type[nn.Module], dense: type[nn.Module], *, training: bool
) -> None:
    """With the same weights and noise the outputs agree up to rounding, with and without calling nn.Module."""
    sizes = (600, 8) if dense is nn.Linear else (600, 8, 0.5)
    picking = nn.Sequential(Index(600, -2), indexed(*sizes)).train(training)
    multiplying = nn.Sequential(OneHot(600, -2), dense(*sizes)).train(training)
    multiplying[1].load_state_dict(picking[1].state_dict())
    for network in (picking, multiplying):
        Noise(network, torch.Generator().manual_seed(0))
    integers = torch.randint(-2, 598, (7,))
    torch.testing.assert_close(picking(integers), multiplying(integers))
    torch.testing.assert_close(forward_of(picking)(integers), multiplying(integers))
