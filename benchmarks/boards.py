"""Tic-tac-toe against a random opponent, with an action mask in its info.

Importing this module registers it as `boards:TicTacToe-v0`.
"""

from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

_LINES = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]])


class TicTacToe(gymnasium.Env[NDArray[np.int8], np.int64]):
    """The player to move first is random. The reward is 1 for a win, 0 for a draw, -1 for a loss.

    The board has 1 for own marks and -1 for the opponent's. A move to an occupied square loses the game, or raises.
    """

    observation_space = spaces.Box(-1, 1, (9,), np.int8)
    action_space = spaces.Discrete(9)

    def __init__(self, illegal: Literal["loses", "raises"] = "loses") -> None:
        self._illegal = illegal

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int8], dict[str, Any]]:
        """An empty board, or one with a move of the opponent."""
        super().reset(seed=seed, options=options)
        self._board = np.zeros(9, np.int8)
        if self.np_random.random() < 0.5:
            self._reply()
        return self._board.copy(), self._info()

    def step(self, action: np.int64) -> tuple[NDArray[np.int8], float, bool, bool, dict[str, Any]]:
        """Makes a move, and the opponent's reply unless the game is over."""
        if self._board[action]:
            if self._illegal == "raises":
                raise ValueError(f"square {action} is taken")
            return self._board.copy(), -1.0, True, False, self._info()
        self._board[action] = 1
        if not self._won(1) and not self._board.all():
            self._reply()
        result = float(self._won(1)) - float(self._won(-1))
        over = bool(result or self._board.all())
        return self._board.copy(), result, over, False, self._info()

    def _reply(self) -> None:
        self._board[self.np_random.choice(np.flatnonzero(self._board == 0))] = -1

    def _won(self, player: int) -> bool:
        return bool((self._board[_LINES] == player).all(axis=1).any())

    def _info(self) -> dict[str, Any]:
        return {"action_mask": (self._board == 0).astype(np.int8)}


gymnasium.register("TicTacToe-v0", f"{__name__}:TicTacToe")
