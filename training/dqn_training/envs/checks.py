"""What an environment does wrong, in one sentence that names it and the step."""

import contextlib
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from dqn_models.masks import ACTION_MASK
from dqn_training.envs.masks import MaskReader, WrongMaskError
from dqn_training.envs.spaces import leaf_spaces, observed

AnyEnv = gymnasium.Env[Any, Any]

FLOAT32_MAX = float(np.finfo(np.float32).max)
"""The largest number that a policy can see or learn from."""

_ABOUT_TYPES = re.compile(r"\b(int|int64|integer|types?|isinstance)\b")
_ABOUT_RULES = re.compile(
    r"\b(allowed|available|forbidden|illegal|impossible|invalid|legal|permitted|valid)\b", re.IGNORECASE
)


class FaultyEnvironmentError(ValueError):
    """An environment broke down, or gave what Gymnasium's interface does not allow."""


class UnmadeEnvironmentError(FaultyEnvironmentError):
    """The constructor of an environment raised an exception."""


@contextlib.contextmanager
def several_instances() -> Iterator[None]:
    """Adds the way out to the error of an environment that cannot be made once more, and to no other error."""
    try:
        yield
    except UnmadeEnvironmentError as error:
        raise UnmadeEnvironmentError(
            f"{error} If a process can hold only one instance of it, use --num-envs 1 --eval-envs 1."
        ) from error


class Checked(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Raises FaultyEnvironmentError at the first wrong answer of an environment, and for every exception within it.

    An observation of several leaves comes out as a row: an array of shape () and the dtype `row_dtype`. All that is
    left of an info is `action_mask`, where masks are read: a boolean for each joint action.
    """

    def __init__(self, environment: AnyEnv, env_id: str, masks: MaskReader | None = None) -> None:
        """`env_id` names the environment in errors. Raises ValueError for observations that no policy can take."""
        super().__init__(environment)
        self._env_id = env_id
        self.masks = masks
        self._step = 0  # of the episode
        space, _ = observed(env_id, environment.observation_space)
        self.row_dtype = space.row_dtype
        found = zip(space.leaves, leaf_spaces(environment.observation_space, space), strict=True)
        self._leaves = [(leaf.name, leaf.path, _LeafCheck(single)) for leaf, single in found]
        self._is_single = not self._leaves[0][1]
        actions = environment.action_space
        self._action_dtype = np.int64 if isinstance(actions, spaces.Discrete) else actions.dtype

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The first observation of an episode, and its action mask."""
        answer = self.begin(seed=seed, options=options)
        masks = {} if self.masks is None else self._read(self.masks, *answer)
        return self._checked(answer[0]), masks

    def begin(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """What the environment's reset answers: an observation and an info, both as they are."""
        self._step = 0
        try:
            answer: Any = self.env.reset(seed=seed, options=options)
        except Exception as error:
            raise FaultyEnvironmentError(failure(self._env_id, "in reset", error)) from error
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise FaultyEnvironmentError(
                f"{self._env_id} answered reset with {_kind(answer)}; expected (observation, info)."
            )
        return answer

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """What follows the action."""
        self._step += 1
        try:
            # Always the type that `action_space.sample()` has; ONNX Runtime's integers are numpy.longlong.
            own = self._action_dtype(action) if self._action_dtype is np.int64 else np.array(action, self._action_dtype)
            observation, reward, terminated, truncated, info = self.env.step(own)
        except Exception as error:
            hints = _type_hint(error) + ("" if self.masks else _mask_hint(error))
            raise FaultyEnvironmentError(failure(self._env_id, self._where(), error) + hints) from error
        value = np.asarray(reward)
        if value.shape or value.dtype.kind not in "fiub" or not abs(value) <= FLOAT32_MAX:
            raise FaultyEnvironmentError(
                f"{self._env_id} gave the reward {reward} {self._where()}; expected a number of at most "
                f"{FLOAT32_MAX:.3g}, the largest of float32.{_several_rewards(value)}"
            )
        terminated, truncated = bool(terminated), bool(truncated)
        masks = {} if self.masks is None else self._read(self.masks, observation, info, ended=terminated or truncated)
        return self._checked(observation), float(value), terminated, truncated, masks

    def render(self) -> Any:
        """The environment's picture; Gymnasium's own errors, such as a missing library, are passed on."""
        try:
            return self.env.render()
        except gymnasium.error.Error:
            raise
        except Exception as error:
            raise FaultyEnvironmentError(failure(self._env_id, "in render", error)) from error

    def _read(self, masks: MaskReader, observation: Any, info: Any, *, ended: bool = False) -> dict[str, Any]:
        try:
            return {ACTION_MASK: masks.read(self.env, observation, info, ended=ended)}
        except WrongMaskError as error:
            problem = f"{self._env_id} {error} {self._where()}; expected {masks.expected}."
            raise FaultyEnvironmentError(f"{problem} --action-masks off ignores its masks.") from error
        except Exception as error:
            raise FaultyEnvironmentError(failure(self._env_id, self._where(), error)) from error

    def _checked(self, observation: Any) -> Any:
        """The observation, of several leaves as a row."""
        if self._is_single:
            if problem := self._leaves[0][2].problem(observation):
                raise FaultyEnvironmentError(f"{self._env_id} gave an observation {problem} {self._where()}.")
            return observation
        return np.array(tuple(self._leaf(observation, *leaf) for leaf in self._leaves), self.row_dtype)

    def _leaf(self, observation: Any, name: str, path: tuple[str | int, ...], check: "_LeafCheck") -> Any:
        value = observation
        for key in path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError) as error:
                raise FaultyEnvironmentError(
                    f"{self._env_id} gave an observation without {name!r} {self._where()}."
                ) from error
        if problem := check.problem(value):
            raise FaultyEnvironmentError(
                f"{self._env_id} gave an observation whose {name!r} is {problem} {self._where()}."
            )
        return value

    def _where(self) -> str:
        return f"in step {self._step} of an episode" if self._step else "in reset"


def failure(env_id: str, where: str, error: BaseException) -> str:
    """The sentence for an exception within an environment."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"{env_id} failed {where}: {type(error).__name__} at {place}: {error}".rstrip(".: ") + "."


def not_learnable(numbers: NDArray[Any]) -> str:
    """Which of these floats a policy, which computes in float32, cannot take: "with nan in it"; nothing if all fit."""
    fits = np.isfinite(numbers) if numbers.dtype == np.float32 else np.abs(numbers) <= FLOAT32_MAX
    if fits.all():
        return ""
    wrong = numbers[~fits].flat[0]
    beyond = f", beyond float32, whose largest number is {FLOAT32_MAX:.3g}," if np.isfinite(wrong) else ""
    return f"with {wrong} in it{beyond}"


def _several_rewards(reward: NDArray[Any]) -> str:
    """What to do about a reward of several numbers."""
    if reward.ndim != 1 or reward.dtype.kind not in "fiub":
        return ""
    return f" To learn from the sum of these {len(reward)} numbers: --reward-weights {' '.join(['1'] * len(reward))}."


def _type_hint(error: BaseException) -> str:
    """How to get another type of action, where an exception in a step may be about that."""
    line = traceback.extract_tb(error.__traceback__)[-1].line or ""
    if not _ABOUT_TYPES.search(f"{error} {line}"):
        return ""
    return (
        " If that is about the action's type: it is that of action_space.sample(), such as numpy.int64. For an "
        "environment that wants int: --wrapper PlainAction."
    )


def _mask_hint(error: BaseException) -> str:
    """How to keep such an action from an environment, where an exception in a step may be about that."""
    if not _ABOUT_RULES.search(str(error)):
        return ""
    return (
        ' If this action is not allowed in this state: where an environment says so, by info["action_mask"] or a '
        "method action_masks(), only allowed actions are taken."
    )


class _LeafCheck:
    """What a leaf of an observation must be; a step of an environment has no time to ask its space."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.space = space
        self._shape = space.shape or ()
        self._kinds = _fitting_kinds(space)

    def problem(self, observation: Any) -> str:
        """What is wrong with it, or nothing."""
        try:
            found = np.asarray(observation)
        except ValueError:  # lists of different lengths
            return "that is no array"
        if found.shape != self._shape:
            return f"of shape {list(found.shape)}, not {list(self._shape)},"
        kind = found.dtype.kind
        if kind not in self._kinds:
            return f"of dtype {found.dtype}, not {self.space.dtype},"
        if kind == "f":
            return not_learnable(found)
        return "" if _contains(self.space, found) else f"outside of {self.space}"


def _contains(space: spaces.Space[Any], found: NDArray[Any]) -> bool:
    """Whether these integers or booleans are in the space."""
    if isinstance(space, spaces.Box):
        return bool(found.dtype == space.dtype or (found.min() >= space.low.min() and found.max() <= space.high.max()))
    if isinstance(space, spaces.MultiDiscrete):
        return bool(((found >= space.start) & (found - space.start < space.nvec)).all())
    if isinstance(space, spaces.MultiBinary):
        return bool(((found == 0) | (found == 1)).all())
    return space.contains(np.int64(found))


def _fitting_kinds(space: spaces.Space[Any]) -> str:
    """Kinds of dtype that an observation may have."""
    kind = np.dtype(space.dtype).kind
    if isinstance(space, spaces.Box):
        learned_as_floats = kind in "fiu" and space.dtype != np.uint8
        return "fiub" if learned_as_floats else "iub"
    return "iub" if isinstance(space, spaces.MultiBinary) else "iu"


def _kind(answer: Any) -> str:
    return f"{len(answer)} values" if isinstance(answer, tuple) else f"one {type(answer).__name__}"
