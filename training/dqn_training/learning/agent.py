"""The agent: chooses epsilon-greedy actions and learns from batches of transitions."""

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dqn_training.checkpoint.captures import Capture
from dqn_training.config import DQNConfig
from dqn_training.learning.adam import Adam
from dqn_training.learning.objectives import make_objective
from dqn_training.networks.backward import Backpropagation, forward_of
from dqn_training.networks.device import choose_device
from dqn_training.networks.noisy import Noise
from dqn_training.networks.parameters import flatten_parameters
from dqn_training.replay.buffer import Batch


class Learned(NamedTuple):
    """What came of a gradient step; tensors, so that nobody waits for numbers that are not asked for."""

    loss: Tensor  # a scalar
    errors: Tensor | None  # [batch], of the transitions before the step; None where nobody needs priorities


class DQNAgent:
    """A Q-network, its target network and its optimiser, all on one device; arrays come and go as NumPy's."""

    def __init__(self, config: DQNConfig, q_network: nn.Sequential, n_actions: int) -> None:
        """Takes over `q_network`; the target network starts as its copy."""
        self.config = config
        self.n_actions = n_actions
        self.device = choose_device(config, q_network)
        self.q_network = q_network.to(self.device)
        self.target_network = copy.deepcopy(self.q_network)
        self.parameters = flatten_parameters(self.q_network)
        self.target_parameters = flatten_parameters(self.target_network).data
        self.optimizer = Adam(self.parameters, config)
        self.gradient_steps = 0
        self._objective = make_objective(config, self.q_network)
        layers, target_layers = list(self.q_network), list(self.target_network)
        learned = len(layers) - (config.distribution != "none")  # the means of distributions have no parameters
        self._learning = Backpropagation(layers[:learned])
        self._q_values = forward_of(layers)
        self._target_outputs = forward_of(target_layers[:learned])
        self._means = forward_of(layers[learned:])
        self._noise_generator = torch.Generator().manual_seed(config.seed)
        self._noise = Noise(self.q_network, self._noise_generator)
        self._target_noise = Noise(self.target_network, self._noise_generator)

    def act(self, observations: NDArray[Any], epsilon: float, generator: np.random.Generator) -> NDArray[np.int64]:
        """Epsilon-greedy actions [num_envs], counted from 0: one coin for each environment.

        Noisy layers have new noise each time, the same for all environments.
        """
        explores = generator.random(len(observations)) < epsilon
        actions = generator.integers(0, self.n_actions, len(observations))
        if not explores.all():
            if self.config.noisy:
                self._noise.draw()
            with torch.inference_mode():
                greedy = self._q_values(self._tensor(observations)).argmax(dim=1).cpu().numpy()
            actions = np.where(explores, actions, greedy)
        return actions

    @torch.no_grad()
    def update(self, batch: Batch) -> Learned:
        """One gradient step on a batch of transitions."""
        if self.config.noisy:
            self._noise.draw()
            self._target_noise.draw()
        returns, discounts = self._tensor(batch.returns), self._tensor(batch.discounts)
        target = self._objective.target(returns, discounts, self._next_outputs(batch.next_observations))
        return self._learn(batch.observations, batch.actions, target, batch.weights)

    @torch.no_grad()
    def regress(
        self, observations: NDArray[Any], actions: NDArray[np.int64], td_target: NDArray[np.float32]
    ) -> Learned:
        """One gradient step of the Q-values of `actions` [batch] towards given targets [batch]."""
        return self._learn(observations, actions, self._tensor(td_target), None)

    def values(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """The greedy action's Q-value for observations [batch, ...], by the Q-network."""
        with torch.inference_mode():
            values: NDArray[np.float32] = self.q_network(self._tensor(observations)).amax(dim=1).cpu().numpy()
            return values

    @property
    def policy_network(self) -> nn.Sequential:
        """The network that is evaluated and published: the Q-network, or its running average."""
        return self.target_network if self.config.policy_weights == "averaged" else self.q_network

    @property
    def policy_parameters(self) -> Tensor:
        """The flat parameters of `policy_network`; changing them changes it."""
        return self.target_parameters if self.config.policy_weights == "averaged" else self.parameters.data

    def set_learning_rate(self, learning_rate: float) -> None:
        """Changes the step size of the next updates."""
        self.optimizer.learning_rate = learning_rate

    def capture(self) -> Capture:
        """Both networks with their noise, and the optimiser."""
        return {
            "parameters": self.parameters.data,
            "target_parameters": self.target_parameters,
            "optimizer": self.optimizer.capture(),
            "gradient_steps": self.gradient_steps,
            "noise": self._noise.capture(),
            "target_noise": self._target_noise.capture(),
            "noise_generator": self._noise_generator.get_state(),
        }

    def restore(self, capture: Capture) -> None:
        """Takes over captured networks, which stay views of the flat parameters."""
        self.parameters.data.copy_(capture["parameters"])
        self.target_parameters.copy_(capture["target_parameters"])
        self.optimizer.restore(capture["optimizer"])
        self.gradient_steps = capture["gradient_steps"]
        self._noise.restore(capture["noise"])
        self._target_noise.restore(capture["target_noise"])
        self._noise_generator.set_state(capture["noise_generator"])

    def _learn(
        self,
        observations: NDArray[Any],
        actions: NDArray[np.int64],
        target: Tensor,
        weights: NDArray[np.float32] | None,
    ) -> Learned:
        outputs = self._learning.forward(self._tensor(observations))
        index = _index(outputs, self._tensor(actions))
        chosen = _of_actions(outputs, index)
        losses, derivative = self._objective.loss(chosen, target)
        errors = None
        if weights is not None:
            errors = self._objective.error(chosen, target) if self._objective.error else losses
            weighting = self._tensor(weights)
            losses = losses * weighting
            derivative = derivative * weighting.view(-1, *[1] * (derivative.dim() - 1))
        derivative = derivative.div_(len(losses)).view_as(index)
        self._descend(torch.zeros_like(outputs).scatter_(1, index, derivative))
        self.gradient_steps += 1
        self._update_target()
        return Learned(losses.mean(), errors)

    def _next_outputs(self, next_observations: NDArray[Any]) -> Tensor:
        """The target network's outputs for the best next action: by its own Q-values, or with double DQN by those of
        the Q-network (van Hasselt et al., 2016).
        """
        observations = self._tensor(next_observations)
        outputs = self._target_outputs(observations)
        if not self.config.double_dqn and self.config.distribution == "none":
            return outputs.amax(dim=1)
        q_values = self._q_values(observations) if self.config.double_dqn else self._means(outputs)
        return _of_actions(outputs, _index(outputs, q_values.argmax(dim=1)))

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _descend(self, gradient_of_outputs: Tensor) -> None:
        gradient = self.parameters.grad
        assert gradient is not None  # noqa: S101  (flatten_parameters made it)
        self._learning.backward(gradient_of_outputs)
        limit = self.config.gradient_clip_at
        if self.config.gradient_clip == "value":
            gradient.clamp_(-limit, limit)
        elif self.config.gradient_clip == "norm":
            gradient.mul_((limit / (gradient.norm() + 1e-6)).clamp(max=1.0))
        self.optimizer.step(gradient)

    def _update_target(self) -> None:
        if self.config.target_update == "soft":
            self.target_parameters.lerp_(self.parameters.data, self.config.tau)
        elif self.gradient_steps % self.config.target_update_every == 0:
            self.target_parameters.copy_(self.parameters.data)


def _index(outputs: Tensor, actions: Tensor) -> Tensor:
    """Where the outputs of the actions [batch] are among outputs [batch, n_actions, ...], for gather and scatter."""
    if outputs.dim() == 2:
        return actions.unsqueeze(1)
    return actions.view(-1, 1, 1).expand(-1, 1, outputs.shape[2])


def _of_actions(outputs: Tensor, index: Tensor) -> Tensor:
    return outputs.gather(1, index).squeeze(1)
