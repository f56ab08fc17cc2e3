"""Adam on one flat parameter tensor: one operation a step, whatever the number of layers.

PyTorch's own step spends most of its time outside the arithmetic for networks of this size (measured for 64-64 layers:
forward, backward and step 398 us with torch.optim.Adam(fused=True), 270 us with this one).
"""

import torch
from torch import Tensor, nn

from dqn_training.checkpoint.values import Stateful
from dqn_training.config import DQNConfig

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8
_LARGE = 30_000
"""Parameters from which a step takes most of its time in moving them through memory, once for each operation (81,000,
two layers of 128 for a table of 500 rows: 540 us less a step)."""


class Adam(Stateful):
    """Adam (Kingma & Ba, 2015), with decoupled weight decay (Loshchilov & Hutter, 2019), AMSGrad (Reddi et al., 2018).

    `learning_rate` may be changed between steps.
    """

    _state = ("_mean", "_square", "_largest", "_steps")

    def __init__(self, parameters: nn.Parameter, config: DQNConfig) -> None:
        """`parameters` is flat and has its gradient in `grad`."""
        self.learning_rate = config.learning_rate
        self._weight_decay = config.weight_decay
        self._parameters = parameters.data
        self._mean = torch.zeros_like(parameters.data)
        self._square = torch.zeros_like(parameters.data)
        self._largest = torch.zeros_like(parameters.data) if config.optimizer == "adamw-amsgrad" else None
        self._steps = 0
        self._fused_step = torch._fused_adam_ if config.optimizer == "adam" else torch._fused_adamw_

    def step(self, gradient: Tensor, divisor: Tensor | None = None) -> None:
        """Moves the parameters against the gradient [parameters], which a scalar may divide first.

        That is the operation of torch.optim's Adam and AdamW with fused=True. Moments of what has no gradient any more
        shrink until they are denormal numbers, which take a processor a hundred times as long as others: half of the
        step in preset `tutorial`. They count as 0 here.
        """
        self._steps += 1
        torch.set_flush_denormal(True)
        self._fused_step(
            [self._parameters],
            [gradient],
            [self._mean],
            [self._square],
            [] if self._largest is None else [self._largest],
            [torch.full((), self._steps, dtype=torch.float32, device=gradient.device)],
            lr=self.learning_rate,
            beta1=_BETA_1,
            beta2=_BETA_2,
            weight_decay=self._weight_decay,
            eps=_EPSILON,
            amsgrad=self._largest is not None,
            maximize=False,
            grad_scale=divisor,
        )
        torch.set_flush_denormal(False)
