"""Checks of environments: an error is one sentence that names the environment and the step."""

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
from dqn_training.envs.spaces import leaf_spaces, observation_space_of

AnyEnv = gymnasium.Env[Any, Any]

FLOAT32_MAX = float(np.finfo(np.float32).max)
"""The largest value that a policy can observe or learn from."""

_ABOUT_TYPES = re.compile(r"\b(int|int64|integer|types?|isinstance)\b")
_ABOUT_RULES = re.compile(
    r"\b(allowed|available|forbidden|illegal|impossible|invalid|legal|permitted|valid)\b", re.IGNORECASE
)


class FaultyEnvironmentError(ValueError):
    """An environment raised an exception or violated Gymnasium's interface."""


class EnvironmentCreationError(FaultyEnvironmentError):
    """An environment's constructor raised an exception."""


@contextlib.contextmanager
def single_instance_hint() -> Iterator[None]:
    """Adds a remedy to the error of an environment that cannot be instantiated again."""
    try:
        yield
    except EnvironmentCreationError as error:
        raise EnvironmentCreationError(
            f"{error} If it allows only one instance per process, use --num-envs 1 --eval-envs 1."
        ) from error


class Checked(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Raises FaultyEnvironmentError at the first invalid result of an environment, and for every exception in it.

    Observations with several leaves are returned as a row: an array of shape () and the dtype `row_dtype`. An info
    keeps only `action_mask`, if masks are read: one boolean per joint action.
    """

    def __init__(self, environment: AnyEnv, env_id: str, masks: MaskReader | None = None) -> None:
        """`env_id` names the environment in errors. Raises ValueError for unsupported observations."""
        super().__init__(environment)
        self._env_id = env_id
        self.masks = masks
        self._step = 0  # of the episode
        space, _ = observation_space_of(env_id, environment.observation_space)
        self.row_dtype = space.row_dtype
        found = zip(space.leaves, leaf_spaces(environment.observation_space, space), strict=True)
        self._leaves = [(leaf.name, leaf.path, _LeafCheck(single)) for leaf, single in found]
        self._is_single = not self._leaves[0][1]
        actions = environment.action_space
        self._action_dtype = np.int64 if isinstance(actions, spaces.Discrete) else actions.dtype

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The first observation of an episode, and its action mask in the info, if any."""
        answer = self.begin(seed=seed, options=options)
        masks = {} if self.masks is None else self._read(self.masks, *answer)
        return self._checked(answer[0]), masks

    def begin(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """The observation and info that the environment's own reset returns, unchanged."""
        self._step = 0
        try:
            answer: Any = self.env.reset(seed=seed, options=options)
        except Exception as error:
            raise FaultyEnvironmentError(failure(self._env_id, "in reset", error) + _reset_hint(error)) from error
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise FaultyEnvironmentError(
                f"{self._env_id} returned {_kind(answer)} from reset; expected (observation, info)."
            )
        return answer

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Steps the environment."""
        self._step += 1
        try:
            # Always the type that `action_space.sample()` returns; ONNX Runtime's integers are numpy.longlong.
            own = self._action_dtype(action) if self._action_dtype is np.int64 else np.array(action, self._action_dtype)
            observation, reward, terminated, truncated, info = self.env.step(own)
        except Exception as error:
            hints = _type_hint(error) + ("" if self.masks else _mask_hint(error))
            raise FaultyEnvironmentError(failure(self._env_id, self._where(), error) + hints) from error
        value = np.asarray(reward)
        if value.shape or value.dtype.kind not in "fiub" or not abs(value) <= FLOAT32_MAX:
            raise FaultyEnvironmentError(
                f"{self._env_id} returned the reward {reward} {self._where()}; expected a number of at most "
                f"{FLOAT32_MAX:.3g}, the largest float32.{_several_rewards(value)}"
            )
        terminated, truncated = bool(terminated), bool(truncated)
        masks = {} if self.masks is None else self._read(self.masks, observation, info, ended=terminated or truncated)
        return self._checked(observation), float(value), terminated, truncated, masks

    def render(self) -> Any:
        """The rendered image; Gymnasium's own errors, such as a missing library, are passed on."""
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
        """The checked observation; with several leaves, as a row."""
        if self._is_single:
            if problem := self._leaves[0][2].problem(observation):
                raise FaultyEnvironmentError(f"{self._env_id} returned an observation {problem} {self._where()}.")
            return observation
        return np.array(tuple(self._leaf(observation, *leaf) for leaf in self._leaves), self.row_dtype)

    def _leaf(self, observation: Any, name: str, path: tuple[str | int, ...], check: "_LeafCheck") -> Any:
        value = observation
        for key in path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError) as error:
                raise FaultyEnvironmentError(
                    f"{self._env_id} returned an observation without {name!r} {self._where()}."
                ) from error
        if problem := check.problem(value):
            raise FaultyEnvironmentError(f"{self._env_id} returned a value of {name!r} {problem} {self._where()}.")
        return value

    def _where(self) -> str:
        return f"in step {self._step} of an episode" if self._step else "in reset"


def failure(env_id: str, where: str, error: BaseException) -> str:
    """A sentence about an exception raised inside an environment."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"{env_id} failed {where}: {type(error).__name__} at {place}: {error}".rstrip(".: ") + "."


def float32_problem(numbers: NDArray[Any]) -> str:
    """Why these floats do not fit float32, e.g. "with nan in it"; empty if they do."""
    fits = np.isfinite(numbers) if numbers.dtype == np.float32 else np.abs(numbers) <= FLOAT32_MAX
    if fits.all():
        return ""
    wrong = numbers[~fits].flat[0]
    beyond = f", beyond {FLOAT32_MAX:.3g}, the largest float32," if np.isfinite(wrong) else ""
    return f"with {wrong} in it{beyond}"


def _several_rewards(reward: NDArray[Any]) -> str:
    """The remedy for a vector-valued reward."""
    if reward.ndim != 1 or reward.dtype.kind not in "fiub":
        return ""
    return f" To learn from the sum of these {len(reward)} numbers: --reward-weights {' '.join(['1'] * len(reward))}."


def _reset_hint(error: BaseException) -> str:
    """What to do about a reset without the arguments that Gymnasium passes."""
    if not (isinstance(error, TypeError) and re.search(r"unexpected keyword argument '(seed|options)'", str(error))):
        return ""
    return " Gymnasium passes seed and options to reset: register a subclass whose reset takes them, under an own id."


def _type_hint(error: BaseException) -> str:
    """How to change the type of actions, if an exception in a step may be about that."""
    line = traceback.extract_tb(error.__traceback__)[-1].line or ""
    if not _ABOUT_TYPES.search(f"{error} {line}"):
        return ""
    return (
        " If this is about the action's type: actions have the type of action_space.sample(), e.g. numpy.int64. For "
        "an environment that requires int, use --wrapper PlainAction."
    )


def _mask_hint(error: BaseException) -> str:
    """How to mask invalid actions, if an exception in a step may be about that."""
    if not _ABOUT_RULES.search(str(error)):
        return ""
    return (
        ' If this action is invalid in this state: provide action masks in info["action_mask"] or by a method '
        "action_masks(), and only allowed actions are taken."
    )


class _LeafCheck:
    """A fast check of a leaf of an observation; `space.contains` would be too slow for every step."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.space = space
        self._shape = space.shape or ()
        self._kinds = _fitting_kinds(space)

    def problem(self, observation: Any) -> str:
        """What is wrong with the observation; empty if nothing is."""
        try:
            found = np.asarray(observation)
        except ValueError:  # lists of different lengths
            return "that is not an array"
        if found.shape != self._shape:
            return f"of shape {list(found.shape)}, not {list(self._shape)},"
        kind = found.dtype.kind
        if kind not in self._kinds:
            return f"of dtype {found.dtype}, not {self.space.dtype},"
        if kind == "f":
            return float32_problem(found)
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
    """The dtype kinds that an observation may have."""
    kind = np.dtype(space.dtype).kind
    if isinstance(space, spaces.Box):
        learned_as_floats = kind in "fiu" and space.dtype != np.uint8
        return "fiub" if learned_as_floats else "iub"
    return "iub" if isinstance(space, spaces.MultiBinary) else "iu"


def _kind(answer: Any) -> str:
    return f"{len(answer)} values" if isinstance(answer, tuple) else f"one {type(answer).__name__}"
