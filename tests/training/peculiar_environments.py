"""Environments that are valid but unusual, registered under `tests.training.peculiar_environments:<id>`."""

import json
from typing import Any

import gymnasium
import numpy as np

from tests.training.environments import Countdown


class Peculiar(Countdown):
    """Countdown that insists on a type of action, renders unusual images or provides masks."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012  (as Gymnasium's environments have it)

    def __init__(self, wants: str = "any", picture: str = "RGBA", masks: bool = False, render_mode: str = "") -> None:  # noqa: FBT001, FBT002
        super().__init__()
        self.render_mode = render_mode
        self._wants, self._picture, self._masks = wants, picture, masks

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Includes a mask, if configured."""
        observation, info = super().reset(seed=seed, options=options)
        return observation, info | self._mask()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Accepts only the type of action that it insists on."""
        if self._wants == "sample" and type(action) is not type(self.action_space.sample()):
            raise TypeError("not what sample() gives")
        if self._wants == "integer" and not isinstance(action, (int, np.integer)):
            raise TypeError("no integer")
        if self._wants == "item":
            action = action.item()
        if self._wants == "json":
            action = json.loads(json.dumps(action))
        if self._wants == "int":
            assert isinstance(action, int)
        *answer, info = super().step(action)
        return *answer, info | self._mask()

    def _mask(self) -> dict[str, Any]:
        return {"action_mask": np.ones(3, np.int8)} if self._masks else {}

    def render(self) -> Any:
        """A red image whose transparency does not matter."""
        if self._picture == "broken":
            raise ZeroDivisionError("no light")
        return np.full((40, 60, 4), (250, 0, 0, 9), np.uint8)


gymnasium.register("Peculiar-v0", f"{__name__}:Peculiar")
