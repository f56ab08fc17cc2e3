"""CartPole with its physics as constructor arguments: a plant that can drift, for trying out retraining.

    dqn-train --env-id examples.tunable_cartpole:TunableCartPole-v0 --name plant
    dqn-retrain --once --name plant --env-kwargs '{"force": 4.0, "pole_length": 1.2}'

With the defaults it is CartPole-v1.
"""

from typing import Any

import gymnasium
from gymnasium.envs.classic_control.cartpole import CartPoleEnv, CartPoleVectorEnv


def _set_physics(plant: CartPoleEnv | CartPoleVectorEnv, gravity: float, pole_length: float, force: float) -> None:
    plant.gravity = gravity
    plant.length = pole_length
    plant.polemass_length = plant.masspole * pole_length
    plant.force_mag = force


class TunableCartPole(CartPoleEnv):
    """One environment; `pole_length` is half the pole's length in metres, `force` newtons, `gravity` m/s^2."""

    def __init__(self, gravity: float = 9.8, pole_length: float = 0.5, force: float = 10.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _set_physics(self, gravity, pole_length, force)


class TunableCartPoleVector(CartPoleVectorEnv):
    """Many environments at once, in NumPy."""

    def __init__(
        self, num_envs: int = 1, gravity: float = 9.8, pole_length: float = 0.5, force: float = 10.0, **kwargs: Any
    ) -> None:
        super().__init__(num_envs, **kwargs)
        _set_physics(self, gravity, pole_length, force)


gymnasium.register(
    id="TunableCartPole-v0",
    entry_point=TunableCartPole,
    vector_entry_point=TunableCartPoleVector,
    max_episode_steps=500,
    reward_threshold=475.0,
)
