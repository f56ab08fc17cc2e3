"""An environment with any number of actions, registered as `tests.training.branching_environments:Matching-v0`.

Its best action is the observation itself, so that a policy must choose each component by the one that it observes.
"""

from collections.abc import Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

STEPS = 10


class Matching(gymnasium.Env[Any, Any]):
    """Shows random integers; the reward is the fraction of the action's components that are the same.

    With `masks` each component's largest value is never shown, and the action mask forbids it: with a tuple of
    masks, with one row of all components or, which is refused, of all joint actions. A forbidden action raises.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012  (Gymnasium's own form)

    def __init__(
        self,
        sizes: Sequence[int] = (8,) * 6,
        acts: Literal["integers", "bits", "levels"] = "integers",
        masks: Literal["", "tuple", "row", "joint"] = "",
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = render_mode
        self._sizes, self._masks = np.array(sizes), masks
        self.observation_space = spaces.MultiDiscrete(self._sizes)
        count = len(sizes)
        kinds: dict[str, gymnasium.Space[Any]] = {
            "integers": spaces.MultiDiscrete(self._sizes, start=np.arange(count)),
            "bits": spaces.MultiBinary((2, max(1, count // 2))),
            "levels": spaces.Box(-1, 1, (2, max(1, count // 2)), np.float32),
        }
        self._acts = acts
        self.action_space = kinds[acts]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Draws the first integers."""
        super().reset(seed=seed, options=options)
        self._left = STEPS
        return self._show(), self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Raises ValueError for an action that is not in the space or not allowed."""
        if not self.action_space.contains(action):
            raise ValueError(f"{action!r} is not in {self.action_space}.")
        chosen = np.asarray(action).ravel()
        if self._acts == "integers":
            chosen = chosen - np.arange(len(self._sizes))
        elif self._acts == "levels":
            chosen = ((chosen + 1) / 2 * (self._sizes - 1)).round()
        if self._masks and (chosen == self._sizes - 1).any():
            raise ValueError(f"{action!r} is not allowed.")
        reward = float((chosen == self._shown).mean())
        self._left -= 1
        return self._show(), reward, False, self._left == 0, self._info()

    def render(self) -> Any:
        """A row of what is shown, the brighter the larger."""
        return (255 * self._shown / self._sizes).astype(np.uint8)[np.newaxis, :, np.newaxis].repeat(3, axis=2)

    def _show(self) -> Any:
        self._shown = self.np_random.integers(0, self._sizes - (1 if self._masks else 0))
        return self._shown

    def _info(self) -> dict[str, Any]:
        if not self._masks:
            return {}
        parts = tuple((np.arange(size) < size - 1).astype(np.int8) for size in self._sizes)
        forms: dict[str, Any] = {"tuple": parts, "row": np.concatenate(parts)}
        return {"action_mask": forms.get(self._masks, np.ones(int(self._sizes.prod()), np.int8))}


gymnasium.register("Matching-v0", f"{__name__}:Matching")
