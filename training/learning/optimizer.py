"""Adam on one flat parameter tensor: five operations a step, whatever the number of layers.

PyTorch's own step spends most of its time outside the arithmetic for networks of this size (measured for 64-64 layers:
forward, backward and step 398 us with torch.optim.Adam(fused=True), 270 us with this one).
"""

import torch
from torch import Tensor, nn

from training.captures import Capture
from training.config import DQNConfig

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Adam (Kingma & Ba, 2015), with decoupled weight decay (Loshchilov & Hutter, 2019), AMSGrad (Reddi et al., 2018).

    `learning_rate` may be changed between steps.
    """

    def __init__(self, parameters: nn.Parameter, config: DQNConfig) -> None:
        """`parameters` is flat and has its gradient in `grad`."""
        self.learning_rate = config.learning_rate
        self._weight_decay = config.weight_decay
        self._parameters = parameters.data
        self._mean = torch.zeros_like(parameters.data)
        self._square = torch.zeros_like(parameters.data)
        self._largest = torch.zeros_like(parameters.data) if config.optimizer == "adamw-amsgrad" else None
        self._steps = 0

    def step(self, gradient: Tensor) -> None:
        """Moves the parameters against the gradient [parameters]."""
        self._steps += 1
        if self._weight_decay:
            self._parameters.mul_(1 - self.learning_rate * self._weight_decay)
        self._mean.lerp_(gradient, 1 - _BETA_1)
        self._square.mul_(_BETA_2).addcmul_(gradient, gradient, value=1 - _BETA_2)
        square = self._square
        if self._largest is not None:
            square = torch.maximum(self._largest, self._square, out=self._largest)
        mean_correction = 1 - _BETA_1**self._steps
        square_correction: float = (1 - _BETA_2**self._steps) ** 0.5
        denominator = square.sqrt().div_(square_correction).add_(_EPSILON)
        self._parameters.addcdiv_(self._mean, denominator, value=-self.learning_rate / mean_correction)

    def capture(self) -> Capture:
        """The moments and the number of steps; not the parameters."""
        return {"mean": self._mean, "square": self._square, "largest": self._largest, "steps": self._steps}

    def restore(self, capture: Capture) -> None:
        """Takes over captured moments."""
        self._mean.copy_(capture["mean"])
        self._square.copy_(capture["square"])
        if self._largest is not None:
            self._largest.copy_(capture["largest"])
        self._steps = capture["steps"]
