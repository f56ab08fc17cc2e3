"""Vector environments: native, serial, or in processes.

Serial and process-based ones give the same trajectories for the same seed, so that the choice between them, which
depends on the machine's speed, does not change results.
"""

import contextlib
import functools
import multiprocessing
import os
import random
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from dqn_models.manifest import EnvironmentInfo
from dqn_models.masks import ACTION_MASK, BoolArray
from dqn_models.spaces import CompositeSpace
from dqn_training.config import Vectorization
from dqn_training.envs.checks import FLOAT32_MAX, AnyEnv, Checked, FaultyEnvironmentError, failure, float32_problem
from dqn_training.envs.make import make_described, register
from dqn_training.envs.masks import random_action
from dqn_training.envs.packing import Packed, unpack
from dqn_training.interrupts import end_when_asked
from dqn_training.seeds import seed_process

AnyVectorEnv = VectorEnv[Any, Any, Any]
Stepped = tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]

PROCESS_SECONDS = 150e-6
"""Overhead of a step in another process: two messages and two context switches."""
_PROBE_SECONDS = 0.1
_GRACE_SECONDS = 5.0  # for a process to close its environment


def make_vector_environment(
    environment: EnvironmentInfo, num_envs: int, vectorization: Vectorization = "auto"
) -> AnyVectorEnv:
    """Makes `num_envs` environments that reset on the step after the end of an episode (AutoresetMode.NEXT_STEP).

    Their errors raise FaultyEnvironmentError. Raises ValueError if `native` is requested but the environment has no
    native vector version that supports its wrappers, observations and masks.
    """
    if vectorization == "auto" and num_envs == 1:
        vectorization = "sync"  # a native vector environment of one takes three times as long
    native = _native(environment, num_envs) if vectorization in ("auto", "native") else None
    if native is not None:
        return _CheckedVector(native, environment)
    if vectorization == "native":
        masked = " with action masks" if environment.action_mask else ""
        raise ValueError(
            f"vectorization is 'native', but {environment.id} has no vector version{masked}; use auto, sync or async."
        )
    if vectorization == "auto":
        vectorization = "async" if processes_pay_off(step_seconds(environment), num_envs) else "sync"
    if vectorization == "sync":
        with contextlib.ExitStack() as made:  # those that there are, where one fails
            singles = [made.enter_context(contextlib.closing(make_described(environment))) for _ in range(num_envs)]
            made.pop_all()
        return SerialVectorEnv(singles)
    seeds = (random.getrandbits(31) for _ in range(num_envs))
    make = [functools.partial(_make_packed, environment, seed) for seed in seeds]
    return _CheckedVector(AsyncVectorEnv(make, autoreset_mode=AutoresetMode.NEXT_STEP), environment)


def vectorization_of(environments: AnyVectorEnv) -> Vectorization:
    """How these environments are vectorized, i.e. what `auto` has chosen."""
    made = environments.unwrapped
    return "sync" if isinstance(made, SerialVectorEnv) else "async" if isinstance(made, AsyncVectorEnv) else "native"


def is_native(environment: EnvironmentInfo) -> bool:
    """Whether the environment has a native vector version that can be used."""
    found = _native(environment, 1)
    if found is not None:
        found.close()
    return found is not None


def processes_pay_off(seconds: float, num_envs: int) -> bool:
    """Whether environments whose step takes `seconds` are stepped faster in processes than serially."""
    cores = min(available_cores(), num_envs)
    return seconds * num_envs > seconds * num_envs / cores + PROCESS_SECONDS * num_envs


def available_cores() -> int:
    """Cores that this process may use; all cores where the system does not say, as on macOS."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def step_seconds(environment: EnvironmentInfo) -> float:
    """Median duration of a step with random actions, in seconds, measured for 0.1 s; resets do not count."""
    single = make_described(environment)
    generator = np.random.default_rng(0)
    durations: list[float] = []
    try:
        _, info = single.reset(seed=0)
        end = time.perf_counter() + _PROBE_SECONDS
        while not durations or time.perf_counter() < end:
            action = random_action(environment.action_space, info, generator)
            before = time.perf_counter()
            _, _, terminated, truncated, info = single.step(action)
            durations.append(time.perf_counter() - before)
            if terminated or truncated:
                _, info = single.reset()
    finally:
        single.close()
    return float(np.median(durations))


def _native(environment: EnvironmentInfo, num_envs: int) -> AnyVectorEnv | None:
    spec = register(environment.id)
    own = spec.additional_wrappers or environment.wrappers or isinstance(environment.observation_space, CompositeSpace)
    if spec.vector_entry_point is None or own or environment.action_mask:
        return None
    found = gymnasium.make_vec(environment.id, num_envs, "vector_entry_point", **environment.kwargs)
    if found.metadata.get("autoreset_mode") == AutoresetMode.NEXT_STEP:
        return found
    found.close()
    return None


def _make_packed(environment: EnvironmentInfo, process_seed: int) -> AnyEnv:
    """Makes an environment, in its own process (AsyncVectorEnv also makes one in the parent)."""
    if multiprocessing.parent_process() is not None:
        end_when_asked()
        seed_process(process_seed)
    return Packed(make_described(environment), _masked_actions(environment))


class SerialVectorEnv(VectorEnv[Any, Any, Any]):
    """A lean gymnasium.vector.SyncVectorEnv, without features not needed here, such as batched infos.

    Stepping one CartPole takes 12 us instead of 19 (41 with its native vector version), stepping 16 takes 158 us
    instead of 182.
    """

    def __init__(self, environments: Sequence[Checked]) -> None:
        """Takes ownership of environments with equal spaces; their observations become rows of one array."""
        self.envs = list(environments)
        self.num_envs = len(self.envs)
        self.metadata = {**self.envs[0].metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space = self.envs[0].observation_space
        self.single_action_space = self.envs[0].action_space
        self._row_dtype = environments[0].row_dtype
        self._over = np.zeros(self.num_envs, np.bool_)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """First observations [num_envs, ...]; environment i gets seed + i. The info has the action masks, if any."""
        observations = self._empty()
        masks = []
        for index, environment in enumerate(self.envs):
            own = None if seed is None else seed + index
            observations[index], info = environment.reset(seed=own, options=options)
            if info:
                masks.append(info[ACTION_MASK])
        self._over = np.zeros(self.num_envs, np.bool_)
        return observations, _joined(masks)

    def step(self, actions: NDArray[np.int64]) -> Stepped:
        """Steps all environments with actions [num_envs, ...]; returned arrays are [num_envs, ...]."""
        observations, rewards = self._empty(), np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), np.bool_)
        masks = []
        for index, environment in enumerate(self.envs):
            if self._over[index]:
                observations[index], info = environment.reset()
            else:
                answer = environment.step(actions[index])
                observations[index], rewards[index], terminated[index], truncated[index], info = answer
            if info:
                masks.append(info[ACTION_MASK])
        self._over = terminated | truncated
        return observations, rewards, terminated, truncated, _joined(masks)

    def close_extras(self, **_: Any) -> None:
        """Closes all environments."""
        for environment in self.envs:
            environment.close()

    def _empty(self) -> NDArray[Any]:
        return np.empty(self.num_envs, self._row_dtype)


def _joined(masks: Sequence[BoolArray]) -> dict[str, BoolArray]:
    """An info with the action masks [num_envs, n_actions]; empty without masks."""
    return {ACTION_MASK: np.stack(masks)} if masks else {}


def _masked_actions(environment: EnvironmentInfo) -> int:
    """Number of actions in a mask; 0 without masks."""
    return environment.action_space.n if environment.action_mask else 0


class _CheckedVector(VectorWrapper[Any, Any, Any, Any, Any]):
    """A vector environment whose errors raise FaultyEnvironmentError."""

    def __init__(self, environments: AnyVectorEnv, environment: EnvironmentInfo) -> None:
        super().__init__(environments)
        self._id = environment.id
        self._row_dtype = environment.observation_space.row_dtype
        self._masked_actions = _masked_actions(environment)
        self._is_packed = isinstance(environments, AsyncVectorEnv)
        self._steps = 0
        self._broken = False
        # Gymnasium warns with the traceback of a process; the error that follows carries the same information.
        hush = functools.partial(warnings.catch_warnings, action="ignore")
        self._hush = hush if isinstance(environments, AsyncVectorEnv) else contextlib.nullcontext

    def reset(self, **arguments: Any) -> Any:
        self._steps = 0
        observations, _ = self._checked(lambda: self.env.reset(**arguments))
        return self._rows(observations)

    def step(self, actions: Any) -> Any:
        self._steps += 1
        observations, rewards, terminated, truncated, _ = self._checked(lambda: self.env.step(actions))
        rows, info = self._rows(observations)
        if not (np.abs(rewards) <= FLOAT32_MAX).all():
            wrong = rewards[~(np.abs(rewards) <= FLOAT32_MAX)][0]
            raise FaultyEnvironmentError(f"{self._id} returned the reward {wrong} {self._where()}.")
        return rows, rewards, terminated, truncated, info

    def close(self, **arguments: Any) -> None:
        """Closes the environments; after a process has died, or an interrupt, by ending the processes."""
        if not self._broken:
            with contextlib.suppress(EOFError, ConnectionError):  # one that has just died
                self.env.close(**arguments)
                return
        processes = getattr(self.env, "processes", [])
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(_GRACE_SECONDS)
            process.kill()
            process.join()
        self.env.closed = True

    def _checked(self, call: Callable[[], Any]) -> Any:
        try:
            with self._hush():
                return call()
        except FaultyEnvironmentError:
            raise
        except (EOFError, ConnectionError) as error:
            self._broken = True
            raise FaultyEnvironmentError(f"A process of {self._id} died {self._where()}.") from error
        except Exception as error:
            raise FaultyEnvironmentError(failure(self._id, self._where(), error)) from error
        except BaseException:  # an interrupt, after which some answers are read and others not
            self._broken = True
            raise

    def _rows(self, observations: Any) -> tuple[NDArray[Any], dict[str, BoolArray]]:
        """Observations as rows, and an info with action masks; those from processes have been checked there."""
        if self._is_packed:
            unpacked, masks = unpack(observations, self._row_dtype, self._masked_actions)
            return unpacked, {ACTION_MASK: masks} if self._masked_actions else {}
        shape = (self.num_envs, *self._row_dtype.shape)
        if np.shape(observations) != shape:
            found, expected = list(np.shape(observations)), list(shape)
            raise FaultyEnvironmentError(
                f"{self._id} returned observations of shape {found}, not {expected}, {self._where()}."
            )
        if observations.dtype.kind == "f" and (problem := float32_problem(observations)):
            raise FaultyEnvironmentError(f"{self._id} returned an observation {problem} {self._where()}.")
        rows: NDArray[Any] = observations
        return rows, {}

    def _where(self) -> str:
        return f"in step {self._steps} of {self.num_envs} environments" if self._steps else "in reset"
