"""Environments that raise at a forbidden action, registered as `tests.training.mask_environments:<id>`."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

N = 12


class Masked(gymnasium.Env[Any, Any]):
    """Twelve actions of which two are allowed in each state, one of them rewarded; any other raises.

    The masks come from the info, a method or the observation; at the end of an episode they allow nothing.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  (as Gymnasium has it)

    def __init__(
        self,
        source: str = "info",
        acts: str = "discrete",
        fault: str = "",
        length: int = 6,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = render_mode
        kinds: dict[str, spaces.Space[Any]] = {
            "discrete": spaces.Discrete(N, start=3),
            "multi": spaces.MultiDiscrete([3, 4]),
        }
        self.action_space, self._acts = kinds[acts], acts
        self._source, self._fault, self._length = source, fault, length
        state = spaces.Box(0, 1, (N,), np.float32)
        mask = spaces.Box(0, 1, (N,), np.int8)
        observed = spaces.Dict({"state": state, "action_mask": mask})
        self.observation_space = observed if source == "observation" else state
        if source == "method":
            self.action_masks = self._form

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts in a random state."""
        super().reset(seed=seed, options=options)
        self._steps, self._state = 0, int(self.np_random.integers(N))
        return self._answer()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Rewards the first of the two actions; raises at any but these."""
        index = int(action) - 3 if self._acts == "discrete" else int(np.ravel_multi_index(tuple(action), (3, 4)))
        if not self._mask()[index]:
            raise LookupError(f"action {action} is not allowed in state {self._state}")
        reward = float(index == self._allowed()[0])
        self._steps, self._state = self._steps + 1, int(self.np_random.integers(N))
        observation, info = self._answer()
        return observation, reward, self._steps >= self._length, False, info

    def render(self) -> Any:
        """A black image."""
        return np.zeros((32, 32, 3), np.uint8)

    def _allowed(self) -> tuple[int, int]:
        return self._state, (5 * self._state + 7) % N

    def _mask(self) -> Any:
        mask = np.zeros(N, np.int8)
        mask[list(self._allowed())] = self._steps < self._length
        return mask

    def _form(self) -> Any:
        """The mask, in the third step of an episode with a fault."""
        mask = self._mask()
        faults: dict[str, Any] = {
            "length": mask[:-1],
            "text": mask.astype(str),
            "values": 2 * mask,
            "ragged": [mask.tolist(), [1]],
            "none": None,
        }
        if self._fault == "exception" and self._steps == 2:
            raise RuntimeError("the rules are lost")
        return faults.get(self._fault, mask) if self._steps == 2 else mask

    def _answer(self) -> tuple[Any, dict[str, Any]]:
        state = np.eye(N, dtype=np.float32)[self._state]
        if self._source == "observation":
            return {"state": state, "action_mask": self._mask()}, {}
        gives = self._source == "info" and not (self._fault == "missing" and self._steps == 2)
        if self._source == "none":
            return state, {"action_mask": None}
        return state, {"action_mask": self._form()} if gives else {}


class Parts(gymnasium.Env[Any, Any]):
    """Two components with separate masks, in a tuple or one after the other; any forbidden action raises."""

    action_space = spaces.MultiDiscrete([3, 4])
    observation_space = spaces.Discrete(3)

    def __init__(self, form: str = "tuple") -> None:
        self._form = form

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Allows only the middle value of the first component."""
        super().reset(seed=seed, options=options)
        self._steps = 0
        return 0, {"action_mask": self._masks()}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Raises unless the first component is 1 and the second is even."""
        if action[0] != 1 or action[1] % 2:
            raise LookupError(f"{action} is not allowed")
        self._steps += 1
        return 0, float(action[1]), self._steps >= 5, False, {"action_mask": self._masks()}

    def _masks(self) -> Any:
        first, second = np.array([0, 1, 0], np.int8), np.array([1, 0, 1, 0], np.int8)
        return (first, second) if self._form == "tuple" else np.concatenate([first, second])


class Pair(gymnasium.Env[Any, Any]):
    """Two components of two values, the first of which must be 1: masks of both forms have four elements."""

    action_space = spaces.MultiDiscrete([2, 2])

    def __init__(self, source: str = "info", form: str = "tuple") -> None:
        self._form = form
        member = spaces.Dict({"state": spaces.Discrete(3), "action_mask": spaces.MultiBinary(4)})
        self.observation_space = member if source == "observation" else spaces.Discrete(3)
        self._source = source
        if source == "method":
            self.action_masks = self._masks

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Always the same."""
        super().reset(seed=seed, options=options)
        return self._answer()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Raises unless the first component is 1."""
        if action[0] != 1:
            raise LookupError(f"{action} is not allowed")
        observation, info = self._answer()
        return observation, float(action[1]), bool(self.np_random.random() < 0.2), False, info

    def _answer(self) -> tuple[Any, dict[str, Any]]:
        observation = {"state": 0, "action_mask": self._masks()} if self._source == "observation" else 0
        return observation, {"action_mask": self._masks()} if self._source == "info" else {}

    def _masks(self) -> Any:
        forms = {"tuple": ([0, 1], [1, 1]), "joint": [0, 0, 1, 1], "joined": [0, 1, 1, 1]}
        return forms["joint"] if self._source == "observation" else forms[self._form]


class Late(Masked):
    """Its first reset in a process's life fails, as a simulator's does that is still starting."""

    failures = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Raises as long as there are failures left."""
        if Late.failures:
            Late.failures -= 1
            raise TimeoutError("the simulator is still starting")
        return super().reset(seed=seed, options=options)


gymnasium.register("Late-v0", f"{__name__}:Late")
gymnasium.register("Pair-v0", f"{__name__}:Pair")
gymnasium.register("Masked-v0", f"{__name__}:Masked")
gymnasium.register("Parts-v0", f"{__name__}:Parts")
