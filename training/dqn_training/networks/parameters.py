"""All parameters of a network as one flat tensor."""

import torch
from torch import nn


def flatten_parameters(network: nn.Module) -> nn.Parameter:
    """Moves all parameters and their gradients into one flat tensor, of which they become views.

    The optimiser, the clipping and the target update then are one operation each instead of one per layer.
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
