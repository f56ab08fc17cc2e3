"""An environment with an engine: a process that it starts, and that only its `close` ends."""

import multiprocessing
import subprocess
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Engine(gymnasium.Env[Any, Any]):
    """Episodes have no end; a file for each engine has its process's number and the name of the process it is of."""

    def __init__(self, folder: str) -> None:
        self.action_space = spaces.Discrete(2)
        self.observation_space = spaces.Box(0, 1, (2,), np.float32)
        self._engine = subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True)
        name = multiprocessing.current_process().name.partition("<")[0]
        self._file = Path(folder, f"{self._engine.pid}.{name}")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts in the middle."""
        super().reset(seed=seed, options=options)
        self._file.touch()  # not in the constructor: whoever is interrupted there has to clean up itself
        return np.full(2, 0.5, np.float32), {}

    def step(self, _: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Draws the next state."""
        return self.np_random.random(2, np.float32), 1.0, False, False, {}

    def close(self) -> None:
        """Ends the engine."""
        self._engine.kill()
        self._engine.wait()


gymnasium.register("Engine-v0", f"{__name__}:Engine")
