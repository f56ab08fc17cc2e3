"""Our own layers, against plain loops in double precision."""

import numpy as np
import pytest
import torch
from torch import nn

from dqn_models.spaces import DiscreteSpace
from dqn_training.config import DQNConfig
from dqn_training.envs.make import describe
from dqn_training.learning.agent import DQNAgent
from dqn_training.networks.heads import CategoricalMean, DuelingHead, QuantileMean
from dqn_training.networks.noisy import Noise, NoisyLinear, mean_weights
from dqn_training.networks.q_network import make_q_network


@pytest.mark.parametrize("shape", [(3,), (3, 5)])
def test_dueling_adds_the_value_and_subtracts_the_mean_advantage(shape: tuple[int, ...]) -> None:
    """q[a] = v + adv[a] - mean(adv), atom by atom where there are distributions (Wang et al., 2016, equation 9)."""
    torch.manual_seed(0)
    atoms = shape[1] if len(shape) > 1 else 1
    head = DuelingHead(nn.Sequential(nn.Linear(4, atoms)), nn.Sequential(nn.Linear(4, 3 * atoms)), shape)
    features = torch.randn(6, 4)
    values = head.value(features).detach().double().numpy()
    advantages = head.advantage(features).detach().double().numpy().reshape(6, 3, atoms)
    outputs = head(features).detach().numpy().reshape(6, 3, atoms)
    for row in range(6):
        for atom in range(atoms):
            mean = sum(advantages[row, action, atom] for action in range(3)) / 3
            for action in range(3):
                expected = values[row, atom] + advantages[row, action, atom] - mean
                assert outputs[row, action, atom] == pytest.approx(expected, abs=1e-6)


def test_a_noisy_layer_adds_factorised_noise_to_weights_and_biases() -> None:
    """y_j = sum_i (w_ji + sigma_ji f(e_i) f(e_j)) x_i + b_j + sigma_j f(e_j) (Fortunato et al., 2018, section 3b)."""
    torch.manual_seed(1)
    layer = NoisyLinear(3, 2, 0.5)
    Noise(layer, torch.Generator().manual_seed(5))
    with torch.no_grad():
        layer.weight_sigma.uniform_(0.1, 1.0)
    features = torch.randn(4, 3)
    outputs = layer(features).detach().numpy()
    mean, sigma = layer.weight.tolist(), layer.weight_sigma.tolist()
    inputs, signals = features.tolist(), layer.input_noise.tolist()
    for row in range(4):
        for j in range(2):
            signal = float(layer.output_noise[j])
            total = layer.bias.tolist()[j] + layer.bias_sigma.tolist()[j] * signal
            for i in range(3):
                total += (mean[j][i] + sigma[j][i] * signals[i] * signal) * inputs[row][i]
            assert outputs[row, j] == pytest.approx(total, abs=1e-5)


def test_noise_is_signed_roots_of_normal_numbers_and_repeatable() -> None:
    """f(x) = sign(x) sqrt(|x|): its square has the sign and the deviation of a normal number; a seed gives it again."""
    layer = NoisyLinear(20_000, 2, 0.5)
    noise = Noise(layer, torch.Generator().manual_seed(2))
    normal = layer.input_noise * layer.input_noise.abs()
    assert float(normal.mean()) == pytest.approx(0, abs=0.03)
    assert float(normal.std()) == pytest.approx(1, abs=0.03)
    first = noise.values.clone()
    noise.draw()
    assert not torch.equal(noise.values, first)
    assert torch.equal(Noise(layer, torch.Generator().manual_seed(2)).values, first)


def test_a_noisy_layer_is_initialized_as_in_the_paper() -> None:
    """Means uniform within 1 / sqrt(inputs), deviations 0.5 / sqrt(inputs); its mean weights form a linear layer."""
    torch.manual_seed(3)
    layer = NoisyLinear(100, 50, 0.5)
    assert float(layer.weight.detach().abs().max()) <= 0.1
    assert float(layer.weight.detach().std()) == pytest.approx(0.1 / 3**0.5, rel=0.05)
    assert torch.equal(layer.weight_sigma.data, torch.full((50, 100), 0.05))
    Noise(layer, torch.Generator().manual_seed(0))
    features = torch.randn(2, 100)
    with mean_weights(layer):
        torch.testing.assert_close(layer(features), features @ layer.weight.T + layer.bias)
    assert not torch.allclose(layer(features), features @ layer.weight.T + layer.bias)


def test_distributions_are_reduced_to_their_means() -> None:
    """Fixed values weighted by their probabilities; quantiles with equal weights."""
    logits = torch.log(torch.tensor([[[0.2, 0.3, 0.5]]]))
    assert float(CategoricalMean(-1, 1, 3)(logits)) == pytest.approx(-0.2 + 0.5)
    assert float(QuantileMean()(torch.tensor([[[1.0, 2.0, 6.0]]]))) == 3.0


def test_a_noisy_agent_explores_without_epsilon_and_its_noise_can_be_captured() -> None:
    """With epsilon 0 its actions vary; restored, it acts as it would have."""
    environment = describe("CartPole-v1", {})
    config = DQNConfig(noisy=True, hidden_sizes=(16,))

    def made() -> DQNAgent:
        torch.manual_seed(0)
        return DQNAgent(
            config, make_q_network(config, environment.observation_space, DiscreteSpace(n=2)), DiscreteSpace(n=2)
        )

    first, second = made(), made()
    observations = np.random.default_rng(0).normal(size=(1, 4)).astype(np.float32) * 0.1
    generator = np.random.default_rng(1)
    assert {int(first.act(observations, 0.0, generator)[0]) for _ in range(100)} == {0, 1}
    second.load_state_dict(first.state_dict())
    both = [
        [int(one.act(observations, 0.0, np.random.default_rng(2))[0]) for _ in range(50)] for one in (first, second)
    ]
    assert both[0] == both[1]
