"""The agent: chooses epsilon-greedy actions and learns from batches of transitions."""

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.captures import Capture
from training.config import DQNConfig
from training.experience.replay import Batch
from training.learning.optimizer import Adam
from training.learning.parameters import flatten_parameters


class DQNAgent:
    """A Q-network, its target network and its optimiser."""

    def __init__(self, config: DQNConfig, q_network: nn.Sequential, n_actions: int) -> None:
        """Takes over `q_network`; the target network starts as its copy."""
        self.config = config
        self.n_actions = n_actions
        self.q_network = q_network
        self.target_network = copy.deepcopy(q_network)
        self.parameters = flatten_parameters(self.q_network)
        self.target_parameters = flatten_parameters(self.target_network).data
        self.optimizer = Adam(self.parameters, config)
        self.gradient_steps = 0
        self._loss = nn.functional.smooth_l1_loss if config.loss == "huber" else nn.functional.mse_loss

    def act(self, observations: NDArray[Any], epsilon: float, generator: np.random.Generator) -> NDArray[np.int64]:
        """Epsilon-greedy actions [num_envs], counted from 0: one coin for each environment."""
        explores = generator.random(len(observations)) < epsilon
        actions = generator.integers(0, self.n_actions, len(observations))
        if not explores.all():
            with torch.inference_mode():
                greedy = self.q_network(torch.from_numpy(observations)).argmax(dim=1).numpy()
            actions = np.where(explores, actions, greedy)
        return actions

    def update(self, batch: Batch) -> Tensor:
        """One gradient step on a batch; returns its loss (a scalar tensor, so that nobody waits for the number)."""
        observations, actions, returns, discounts, next_observations = map(torch.from_numpy, batch)
        with torch.no_grad():
            td_target = returns + discounts * self._next_values(next_observations)
        q_values = self.q_network(observations).gather(1, actions.unsqueeze(1)).squeeze(1)
        loss = self._loss(q_values, td_target)
        self._descend(loss)
        self.gradient_steps += 1
        self._update_target()
        return loss.detach()

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
        """Both networks and the optimiser."""
        return {
            "parameters": self.parameters.data,
            "target_parameters": self.target_parameters,
            "optimizer": self.optimizer.capture(),
            "gradient_steps": self.gradient_steps,
        }

    def restore(self, capture: Capture) -> None:
        """Takes over captured networks, which stay views of the flat parameters."""
        self.parameters.data.copy_(capture["parameters"])
        self.target_parameters.copy_(capture["target_parameters"])
        self.optimizer.restore(capture["optimizer"])
        self.gradient_steps = capture["gradient_steps"]

    def _next_values(self, next_observations: Tensor) -> Tensor:
        """max_a Q_target(s', a), or with double DQN Q_target(s', argmax_a Q(s', a)) (van Hasselt et al., 2016)."""
        target_q_values = self.target_network(next_observations)
        if not self.config.double_dqn:
            return target_q_values.amax(dim=1)  # type: ignore[no-any-return]
        best = self.q_network(next_observations).argmax(dim=1, keepdim=True)
        return target_q_values.gather(1, best).squeeze(1)  # type: ignore[no-any-return]

    def _descend(self, loss: Tensor) -> None:
        gradient = self.parameters.grad
        assert gradient is not None  # noqa: S101  (flatten_parameters made it)
        gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
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
