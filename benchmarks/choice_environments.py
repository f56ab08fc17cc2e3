"""Small environments in which the rules of the preset `general` were chosen; none of them is in the reported benchmark.

Importing this module registers them, e.g. as `choice_environments:Delivery-v0`.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.wrappers import TransformObservation

Stepped = tuple[Any, float, bool, bool, dict[str, Any]]

_MOVES = ((0, 1), (1, 0), (0, -1), (-1, 0))


class Grid(gymnasium.Env[Any, Any]):
    """A grid to cross from the top left to the bottom right; pits end the episode, and moves may slip sideways.

    An observation is the index of the cell, or its row and column.
    """

    def __init__(
        self, side: int, pits: tuple[tuple[int, int], ...] = (), slips: float = 0.0, *, coordinates: bool = False
    ) -> None:
        self.side, self.pits, self.slips, self.coordinates = side, pits, slips, coordinates
        box = spaces.Box(0, side - 1, (2,), np.float32)
        self.observation_space = box if coordinates else spaces.Discrete(side * side)
        self.action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts at the top left."""
        super().reset(seed=seed, options=options)
        self._place = (0, 0)
        return self._observation(), {}

    def step(self, action: int) -> Stepped:
        """Moves, or slips; the reward is 1 at the goal."""
        if self.np_random.random() < self.slips:
            action = (action + self.np_random.choice([1, 3])) % 4
        down, right = _MOVES[action]
        row, column = (min(max(at + by, 0), self.side - 1) for at, by in zip(self._place, (down, right), strict=True))
        self._place = row, column
        arrived = self._place == (self.side - 1, self.side - 1)
        return self._observation(), float(arrived), arrived or self._place in self.pits, False, {}

    def _observation(self) -> Any:
        row, column = self._place
        return np.array(self._place, np.float32) if self.coordinates else row * self.side + column


class Cliffs(Grid):
    """The grid with -1 per step; a pit costs 100 and leads back to the start, and only the goal ends the episode."""

    def step(self, action: int) -> Stepped:
        """Moves; only the goal ends the episode."""
        _, arrived, over, truncated, info = super().step(action)
        fell = over and not arrived
        if fell:
            self._place = (0, 0)
        return self._observation(), -100.0 if fell else -1.0, bool(arrived), truncated, info


class Delivery(gymnasium.Env[Any, Any]):
    """A parcel to carry from one corner of a 4 x 4 grid to another: -1 per step, -10 for wrong handling."""

    def __init__(self) -> None:
        self.observation_space = spaces.Discrete(16 * 5 * 4)
        self.action_space = spaces.Discrete(6)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Starts a random task."""
        super().reset(seed=seed, options=options)
        self._place = [int(value) for value in self.np_random.integers(0, 4, 2)]
        self._parcel, self._target = (int(value) for value in self.np_random.choice(4, 2, replace=False))
        return self._observation(), {}

    def step(self, action: int) -> Stepped:
        """Moves in four directions, picks up, or puts down."""
        corner = {(0, 0): 0, (0, 3): 1, (3, 0): 2, (3, 3): 3}.get((self._place[0], self._place[1]))
        reward, done = -1.0, False
        if action < 4:
            self._place = [min(max(at + by, 0), 3) for at, by in zip(self._place, _MOVES[action], strict=True)]
        elif action == 4 and corner is not None and self._parcel == corner:
            self._parcel = 4
        elif action == 5 and self._parcel == 4 and corner == self._target:
            reward, done = 20.0, True
        else:
            reward = -10.0
        return self._observation(), reward, done, False, {}

    def _observation(self) -> int:
        return ((self._place[0] * 4 + self._place[1]) * 5 + self._parcel) * 4 + self._target


class Inventory(gymnasium.Env[Any, Any]):
    """Orders of 0 to 9 boxes for a random demand, delivered two days later; rewards are in the tens to hundreds."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 1000, (3,), np.float32)
        self.action_space = spaces.Discrete(10)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts with a random stock."""
        super().reset(seed=seed, options=options)
        self._state = [int(self.np_random.integers(0, 40)), 0, 0]
        return np.array(self._state, np.float32), {}

    def step(self, action: int) -> Stepped:
        """The reward is 10 per piece sold, -6 per piece bought and -0.5 per piece kept."""
        stock, soon, later = self._state
        available = stock + soon
        sold = min(available, int(self.np_random.poisson(18)))
        self._state = [min(available - sold, 1000), later, 5 * int(action)]
        reward = 10.0 * sold - 6.0 * 5 * action - 0.5 * self._state[0]
        return np.array(self._state, np.float32), reward, False, False, {}


class PushedCartPole(CartPoleEnv):
    """CartPole with random pushes of the cart."""

    def step(self, action: Any) -> Stepped:
        """Takes a step, then pushes."""
        observation, reward, terminated, truncated, info = super().step(action)  # type: ignore[no-untyped-call]
        push = self.np_random.normal(0, 0.1)
        self.state = np.add(self.state, (0, push, 0, 0))  # type: ignore[arg-type]  # a state once it is reset
        observation[1] += push
        return observation, float(reward), terminated, truncated, info


class Swing(gymnasium.Env[Any, Any]):
    """A pendulum to swing up with pushes too weak to lift it directly: -1 per step until it stands, in small steps."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-12.0, 12.0, (3,), np.float32)
        self.action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts hanging, almost at rest."""
        super().reset(seed=seed, options=options)
        self._state = self.np_random.uniform(-0.1, 0.1, 2)  # the angle from below, and its change per second
        return self._observation(), {}

    def step(self, action: int) -> Stepped:
        """Advances 0.05 seconds in ten parts, with NumPy, so that a step is expensive."""
        for _ in range(10):
            angle, speed = self._state
            change = np.array([speed, -5.0 * np.sin(angle) + 1.5 * (action - 1) - 0.02 * speed])
            self._state = self._state + 0.005 * change
        stands = bool(np.cos(self._state[0]) < -0.95)
        return self._observation(), -1.0, stands, False, {}

    def _observation(self) -> Any:
        angle, speed = self._state
        return np.array([np.cos(angle), np.sin(angle), speed], np.float32)


class Berries(gymnasium.Env[Any, Any]):
    """An image of an 8 x 8 meadow with one berry at a time to eat, and three holes that end the episode."""

    _HOLES = ((1, 5), (4, 2), (6, 6))

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 1, (8, 8, 3), np.bool_)
        self.action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts in the middle."""
        super().reset(seed=seed, options=options)
        self._place, self._berry = (3, 4), (0, 0)
        self._grow()
        return self._observation(), {}

    def step(self, action: int) -> Stepped:
        """Moves; the reward is 1 for a berry, -1 for a hole or the edge."""
        row, column = (at + by for at, by in zip(self._place, _MOVES[action], strict=True))
        if not (0 <= row < 8 and 0 <= column < 8) or (row, column) in self._HOLES:
            return self._observation(), -1.0, True, False, {}
        self._place = row, column
        ate = self._place == self._berry
        if ate:
            self._grow()
        return self._observation(), float(ate), False, False, {}

    def _grow(self) -> None:
        while self._berry in (*self._HOLES, self._place, (0, 0)):
            self._berry = (int(self.np_random.integers(8)), int(self.np_random.integers(8)))

    def _observation(self) -> Any:
        seen = np.zeros((8, 8, 3), np.bool_)
        for plane, places in enumerate(((self._place,), (self._berry,), self._HOLES)):
            for row, column in places:
                seen[row, column, plane] = True
        return seen


def scaled_cartpole() -> gymnasium.Env[Any, Any]:
    """CartPole in other units: centimetres, millimetres per second, thousandths of degrees."""
    factors = np.array([100, 1000, 57_000, 57_000], np.float32)
    made = CartPoleEnv()
    space = spaces.Box(-np.inf, np.inf, (4,), np.float32)
    return TransformObservation(made, lambda seen: (seen * factors).astype(np.float32), space)


def _register() -> None:
    pits = ((1, 3), (2, 1), (3, 3), (4, 0))
    gymnasium.register("Maze-v0", f"{__name__}:Grid", max_episode_steps=100, kwargs={"side": 6})
    gymnasium.register(
        "Slippery-v0", f"{__name__}:Grid", max_episode_steps=100, kwargs={"side": 5, "pits": pits, "slips": 0.3}
    )
    kwargs = {"side": 5, "pits": pits, "slips": 0.3, "coordinates": True}
    gymnasium.register("SlipperyCoordinates-v0", f"{__name__}:Grid", max_episode_steps=100, kwargs=kwargs)
    edge = tuple((row, 2) for row in range(4))
    gymnasium.register("Cliffs-v0", f"{__name__}:Cliffs", kwargs={"side": 6, "pits": edge})
    edge = tuple((row, 2) for row in range(8))
    gymnasium.register("LongCliffs-v0", f"{__name__}:Cliffs", kwargs={"side": 10, "pits": edge})
    gymnasium.register("Delivery-v0", f"{__name__}:Delivery", max_episode_steps=60)
    gymnasium.register("Inventory-v0", f"{__name__}:Inventory", max_episode_steps=100)
    kwargs = {"side": 5, "pits": pits, "slips": 0.1}
    gymnasium.register("LittleSlippery-v0", f"{__name__}:Grid", max_episode_steps=100, kwargs=kwargs)
    gymnasium.register("Swing-v0", f"{__name__}:Swing", max_episode_steps=500)
    gymnasium.register("Berries-v0", f"{__name__}:Berries", max_episode_steps=200)
    gymnasium.register("PushedCartPole-v0", f"{__name__}:PushedCartPole", max_episode_steps=500)
    gymnasium.register("ScaledCartPole-v0", f"{__name__}:scaled_cartpole", max_episode_steps=500)


_register()
