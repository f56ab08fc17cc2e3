"""Environments of packages that are not registered with Gymnasium, registered as a user would in their own module.

`third_party_environments:Airstriker-v0` of stable-retro, `:ConnectFour-v0` of PettingZoo, `:Elevators-v0` of pyRDDLGym
and `:Trading-v0` of gym-trading-env.
"""

from importlib import import_module
from typing import Any

import gymnasium
import numpy as np

Made = gymnasium.Env[Any, Any]
Stepped = tuple[Any, float, bool, bool, dict[str, Any]]


def airstriker(**arguments: Any) -> Made:
    """The emulator's free game, which allows only one instance per process."""
    retro = import_module("stable_retro")
    shown = {"render_mode": "rgb_array"} | arguments  # otherwise it opens a window
    game: Made = retro.make("Airstriker-Genesis-v0", use_restricted_actions=retro.Actions.DISCRETE, **shown)
    return gymnasium.wrappers.ResizeObservation(game, (84, 84))


def elevators() -> Made:
    """A domain of the planning competition."""
    made: Made = import_module("pyRDDLGym").make("Elevators", "0")
    return made


def trading(**arguments: Any) -> Made:
    """A random walk as the prices."""
    pandas = import_module("pandas")
    prices = 100 * np.exp(np.random.default_rng(0).normal(0, 0.01, 300).cumsum())
    days = pandas.date_range("2024-01-01", periods=300, freq="D")
    frame = pandas.DataFrame({"open": prices, "high": prices, "low": prices, "close": prices}, days)
    frame["feature_change"] = frame["close"].pct_change().fillna(0.0)
    import_module("gym_trading_env")
    return gymnasium.make("TradingEnv", df=frame, positions=[-1, 0, 1], verbose=0, **arguments)


class ConnectFour(gymnasium.Env[Any, Any]):
    """Connect four against a random player, with PettingZoo's observations: the board and the allowed columns."""

    def __init__(self) -> None:
        self._game = import_module("pettingzoo.classic").connect_four_v3.raw_env()
        self.observation_space = self._game.observation_space("player_0")
        self.action_space = self._game.action_space("player_0")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """An empty board."""
        super().reset(seed=seed, options=options)
        self._game.reset(seed=seed)
        return self._game.observe("player_0"), {}

    def step(self, action: Any) -> Stepped:
        """Makes a move, and one of the random player."""
        self._game.step(int(action))
        if not self._is_over():
            mask = self._game.observe("player_1")["action_mask"]
            self._game.step(int(self.np_random.choice(np.flatnonzero(mask))))
        reward = float(self._game._cumulative_rewards["player_0"])  # noqa: SLF001  (PettingZoo's `last` needs a turn)
        return self._game.observe("player_0"), reward, self._is_over(), False, {}

    def _is_over(self) -> bool:
        return any(self._game.terminations.values())


class JobShop(gymnasium.Wrapper[Any, Any, Any, Any]):
    """JSSEnv with the reset that Gymnasium has today: with a seed, which it does not need, and an info."""

    def __init__(self) -> None:
        import_module("JSSEnv")
        super().__init__(gymnasium.make("jss-v1", disable_env_checker=True).unwrapped)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:  # noqa: ARG002  (as it is called)
        """No job has begun."""
        return self.env.reset(), {}


gymnasium.register("JobShop-v0", f"{__name__}:JobShop")
gymnasium.register("Airstriker-v0", f"{__name__}:airstriker", max_episode_steps=1_000)
gymnasium.register("ConnectFour-v0", f"{__name__}:ConnectFour")
gymnasium.register("Elevators-v0", f"{__name__}:elevators")
gymnasium.register("Trading-v0", f"{__name__}:trading")
