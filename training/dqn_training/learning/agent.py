"""The agent: chooses epsilon-greedy actions and learns from batches of transitions."""

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dqn_models.masks import BoolArray
from dqn_models.spaces import ActionSpace
from dqn_training.checkpoint.values import Stateful
from dqn_training.config import DQNConfig
from dqn_training.learning.adam import Adam
from dqn_training.learning.branching import branching_objective
from dqn_training.learning.losses import make_objective, mean_loss
from dqn_training.networks.fast import Backpropagation, flatten_parameters, forward_of
from dqn_training.networks.leaves import Inputs, to_tensors
from dqn_training.networks.noisy import Noise
from dqn_training.networks.normalize import Statistics
from dqn_training.networks.q_network import choose_device
from dqn_training.replay.source import Batch

_SEEN = 10_000
"""Maximum number of observations behind the statistics for normalization."""
_AT_ONCE = 4_096
"""Elements of an observation up to which one pass over two batches is faster than two passes: larger ones leave the
caches."""


class UpdateResult(NamedTuple):
    """The results of a gradient step; tensors, to avoid waiting for the GPU."""

    losses: Tensor  # [batch], whose mean it descended
    errors: Tensor | None  # [batch], of the transitions before the step; None without prioritized replay


class DQNAgent(Stateful):
    """A Q-network, its target network and its optimizer on one device; takes and returns NumPy arrays."""

    _state = (
        "parameters",
        "target_parameters",
        "optimizer",
        "gradient_steps",
        "_noise",
        "_target_noise",
        "_noise_generator",
        "_statistics",
    )

    def __init__(self, config: DQNConfig, q_network: nn.Sequential, actions: ActionSpace) -> None:
        """Takes ownership of `q_network`; the target network starts as a copy."""
        self.config = config
        self.actions = actions
        self.device = choose_device(config, q_network)
        self.q_network = q_network.to(self.device)
        self.target_network = copy.deepcopy(self.q_network)
        self.parameters = flatten_parameters(self.q_network)
        self.target_parameters = flatten_parameters(self.target_network).data
        self._statistics = Statistics(self.q_network, [self.target_network])
        self.optimizer = Adam(self.parameters, config)
        self.gradient_steps = 0
        self._objective = (
            branching_objective(actions.branches, mean_loss(config), self.device)
            if actions.branches
            else make_objective(config, self.q_network)
        )
        layers, target_layers = list(self.q_network), list(self.target_network)
        learned = len(layers) - (config.distribution != "none")  # the means of distributions have no parameters
        self._learning = Backpropagation(layers[:learned])
        self._q_values = forward_of(layers)
        learning = slice(self._learning.first, learned)
        self._outputs, self._target_outputs = forward_of(layers[learning]), forward_of(target_layers[learning])
        self._means = forward_of(layers[learned:])
        self._noise_generator = torch.Generator().manual_seed(config.seed)
        self._noise = Noise(self.q_network, self._noise_generator)
        self._target_noise = Noise(self.target_network, self._noise_generator)

    def act(
        self,
        observations: NDArray[Any],
        epsilon: float,
        generator: np.random.Generator,
        masks: BoolArray | None = None,
    ) -> NDArray[np.int64]:
        """Epsilon-greedy actions as indices [num_envs], or as rows of indices if actions branch.

        Exploration is drawn per environment, for all components of an action at once. With masks [num_envs, n], only
        allowed actions are taken; any action where a row allows none. Noisy layers get new noise at each call, the same
        for all environments.
        """
        explores = generator.random(len(observations)) < epsilon
        if masks is None:
            actions = self.actions.random(generator, len(observations))
        else:
            masks = masks | ~self.actions.possible(masks)[:, np.newaxis]
            actions = self.actions.random_allowed(masks, generator.random(self.actions.draws_shape(len(observations))))
        if not explores.all():
            if self.config.noisy:
                self._noise.draw()
            with torch.inference_mode():
                q_values = self._q_values(self._inputs(observations))
            best = self.actions.best(q_values.cpu().numpy(), masks)
            actions[~explores] = best[~explores]
        return actions

    def normalize_by(self, observations: NDArray[Any]) -> None:
        """Normalizes the networks' inputs by the statistics of these observations [count, ...], before learning."""
        self._statistics.learn(self._inputs(observations[-_SEEN:]))

    @torch.no_grad()
    def update(self, batch: Batch) -> UpdateResult:
        """One gradient step on a batch of transitions.

        With one Q-value per action it computes (for distributions see learning/targets.py and losses.py):

            next_action = argmax_a Q(s', a)                     (Q_target(s', a) without double DQN)
            target      = return + discount * Q_target(s', next_action)
            loss        = mean over the batch of weight * huber(Q(s, a) - target)
            parameters -= Adam step on the clipped gradient of the loss
            target parameters += tau * (parameters - target parameters)     (or a periodic copy)

        Return and discount are over n steps; the discount is 0 if the episode terminated. With masks, only allowed next
        actions are considered.
        """
        if self.config.noisy:
            self._noise.draw()
            self._target_noise.draw()
        outputs, next_outputs = self._outputs_of(batch)
        target = self._objective.target(self._tensor(batch.returns), self._tensor(batch.discounts), next_outputs)
        return self._learn(outputs, batch.actions, target, batch.weights)

    @torch.no_grad()
    def regress(
        self, observations: NDArray[Any], actions: NDArray[np.int64], td_target: NDArray[np.float32]
    ) -> UpdateResult:
        """One gradient step of the Q-values of `actions` [batch, ...] towards the given targets [batch]."""
        outputs = self._learning.forward(self._learning.encode(self._inputs(observations)))
        return self._learn(outputs, actions, self._tensor(td_target), None)

    def values(self, observations: NDArray[Any], masks: BoolArray | None = None) -> NDArray[np.float32]:
        """The greedy action's Q-value for observations [batch, ...], by the Q-network.

        With masks [batch, n] it is that of an allowed action, and 0 where none is: nothing can follow.
        """
        with torch.inference_mode():
            q_values = self._allowed(self.q_network(self._inputs(observations)), masks)
            values: NDArray[np.float32] = self._objective.outputs_of_best(q_values, q_values).cpu().numpy()
        return values if masks is None else np.where(self.actions.possible(masks), values, np.float32(0))

    @property
    def policy_network(self) -> nn.Sequential:
        """The network to evaluate and publish: the Q-network, or its running average."""
        return self.target_network if self.config.policy_weights == "averaged" else self.q_network

    @property
    def policy_parameters(self) -> Tensor:
        """The flat parameters of `policy_network`, sharing its memory."""
        return self.target_parameters if self.config.policy_weights == "averaged" else self.parameters.data

    def _learn(
        self, outputs: Tensor, actions: NDArray[np.int64], target: Tensor, weights: NDArray[np.float32] | None
    ) -> UpdateResult:
        """One gradient step on the outputs that `_learning` has just computed."""
        taken = self._tensor(actions)
        losses, d_outputs = self._objective.loss(outputs, taken, target)
        errors = None
        if weights is not None:
            errors = self._objective.error(outputs, taken, target) if self._objective.error else losses
            weighting = self._tensor(weights)
            losses = losses * weighting
            d_outputs = d_outputs * weighting.view(-1, *[1] * (d_outputs.dim() - 1))
        self._descend(d_outputs.div_(len(losses)))
        self.gradient_steps += 1
        self._update_target()
        return UpdateResult(losses, errors)

    def _outputs_of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The Q-network's outputs for the observations, and the target network's for the best next action.

        The action is best by the target network, or with double DQN by the Q-network (van Hasselt et al., 2016), which
        then takes small observations and next observations in one pass.
        """
        encode, forward, count = self._learning.encode, self._learning.forward, len(batch.actions)
        observations, following = batch.observations, batch.next_observations
        if self.config.double_dqn and observations.dtype.names is None and observations[0].size <= _AT_ONCE:
            encoded = encode(self._inputs(np.concatenate((observations, following))))
            both, next_outputs = forward(encoded, count), self._target_outputs(encoded[count:])
            outputs, judged = both[:count], both[count:]
        else:
            encoded = encode(self._inputs(following))
            outputs, next_outputs = forward(encode(self._inputs(observations))), self._target_outputs(encoded)
            judged = self._outputs(encoded) if self.config.double_dqn else next_outputs
        judged = self._allowed(self._means(judged), batch.next_masks)
        return outputs, self._objective.outputs_of_best(next_outputs, judged)

    def _allowed(self, q_values: Tensor, masks: BoolArray | None) -> Tensor:
        """The Q-values [batch, n], with minus infinity for actions that are not allowed."""
        return q_values if masks is None else q_values.masked_fill(self._tensor(~masks), -torch.inf)

    def _inputs(self, observations: NDArray[Any]) -> Inputs:
        return to_tensors(observations, self.device)

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
            gradient.mul_((limit / (torch.linalg.vector_norm(gradient) + 1e-6)).clamp_(max=1.0))
        self.optimizer.step(gradient)

    def _update_target(self) -> None:
        if self.config.target_update == "soft":
            self.target_parameters.lerp_(self.parameters.data, self.config.tau)
        elif self.gradient_steps % self.config.target_update_every == 0:
            self.target_parameters.copy_(self.parameters.data)
