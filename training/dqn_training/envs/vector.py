"""Many environments as one: natively, one after another, or in processes.

One after another and in processes give the same trajectories for the same seed, environment by environment, so that the
choice between them, which depends on how fast the machine is, changes no result.
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
from dqn_training.envs.checks import FLOAT32_MAX, AnyEnv, Checked, FaultyEnvironmentError, failure, not_learnable
from dqn_training.envs.make import make_described, register
from dqn_training.envs.masks import random_action
from dqn_training.envs.packing import Packed, unpack
from dqn_training.interrupts import end_when_asked
from dqn_training.seeds import seed_process

AnyVectorEnv = VectorEnv[Any, Any, Any]
Stepped = tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]

PROCESS_SECONDS = 150e-6
"""What a step costs more in a process of its own: two messages and two switches of process."""
_PROBE_SECONDS = 0.1
_GRACE_SECONDS = 5.0  # for a process to close its environment


def make_vector_environment(
    environment: EnvironmentInfo, num_envs: int, vectorization: Vectorization = "auto"
) -> AnyVectorEnv:
    """`num_envs` environments that reset themselves on the step after an episode's end (AutoresetMode.NEXT_STEP).

    Their faults raise FaultyEnvironmentError. Raises ValueError when `native` is asked for and the environment has no
    vector version of its own, or has wrappers.
    """
    if vectorization == "auto" and num_envs == 1:
        vectorization = "sync"  # a native vector of one takes three times as long
    native = _native(environment, num_envs) if vectorization in ("auto", "native") else None
    if native is not None:
        return _CheckedVector(native, environment)
    if vectorization == "native":
        masked = " that gives its action masks" if environment.action_mask else ""
        raise ValueError(
            f"vectorization is 'native', but {environment.id} has no vector version{masked}; use auto, sync or async."
        )
    if vectorization == "auto":
        vectorization = "async" if pays_in_processes(step_seconds(environment), num_envs) else "sync"
    if vectorization == "sync":
        with contextlib.ExitStack() as made:  # those that there are, where one fails
            singles = [made.enter_context(contextlib.closing(make_described(environment))) for _ in range(num_envs)]
            made.pop_all()
        return SerialVectorEnv(singles)
    seeds = (random.getrandbits(31) for _ in range(num_envs))
    make = [functools.partial(_make_packed, environment, seed) for seed in seeds]
    return _CheckedVector(AsyncVectorEnv(make, autoreset_mode=AutoresetMode.NEXT_STEP), environment)


def vectorization_of(environments: AnyVectorEnv) -> Vectorization:
    """How these environments are stepped: what `auto` chose."""
    made = environments.unwrapped
    return "sync" if isinstance(made, SerialVectorEnv) else "async" if isinstance(made, AsyncVectorEnv) else "native"


def is_native(environment: EnvironmentInfo) -> bool:
    """Whether the environment has a vector version of its own that fits here."""
    found = _native(environment, 1)
    if found is not None:
        found.close()
    return found is not None


def pays_in_processes(seconds: float, num_envs: int) -> bool:
    """Whether environments whose step takes so long are stepped faster in processes than one after another."""
    cores = min(available_cores(), num_envs)
    return seconds * num_envs > seconds * num_envs / cores + PROCESS_SECONDS * num_envs


def available_cores() -> int:
    """Cores that this process may use; where the system does not say, as macOS, all there are."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def step_seconds(environment: EnvironmentInfo) -> float:
    """The median duration of a step, measured for a tenth of a second with random actions (resets not counted)."""
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
    """An environment in a process of its own."""
    if multiprocessing.parent_process() is not None:
        end_when_asked()
        seed_process(process_seed)
    return Packed(make_described(environment), _masked_actions(environment))


class SerialVectorEnv(VectorEnv[Any, Any, Any]):
    """Takes the steps of gymnasium.vector.SyncVectorEnv without what is not needed here, such as batched infos.

    A step of one CartPole takes 12 us instead of 19 (41 by the environment's own vector version), one of 16 takes 158
    instead of 182.
    """

    def __init__(self, environments: Sequence[Checked]) -> None:
        """Takes over environments with the same spaces; observations become rows of one array."""
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
        """First observations [num_envs, ...]; the seeds count from `seed`. The info has the action masks, if any."""
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
        """What follows the actions [num_envs], each array [num_envs, ...]."""
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
    """The action masks [num_envs, n_actions] under their name; nothing where there are none."""
    return {ACTION_MASK: np.stack(masks)} if masks else {}


def _masked_actions(environment: EnvironmentInfo) -> int:
    """How many actions a mask has; 0 where there are no masks."""
    return environment.action_space.n if environment.action_mask else 0


class _CheckedVector(VectorWrapper[Any, Any, Any, Any, Any]):
    """A vector environment whose faults raise FaultyEnvironmentError."""

    def __init__(self, environments: AnyVectorEnv, environment: EnvironmentInfo) -> None:
        super().__init__(environments)
        self._id = environment.id
        self._row_dtype = environment.observation_space.row_dtype
        self._masked_actions = _masked_actions(environment)
        self._is_packed = isinstance(environments, AsyncVectorEnv)
        self._steps = 0
        self._broken = False
        # Gymnasium warns with the traceback of a process; the error that follows has all that is in it.
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
            raise FaultyEnvironmentError(f"{self._id} gave the reward {wrong} {self._where()}.")
        return rows, rewards, terminated, truncated, info

    def close(self, **arguments: Any) -> None:
        """Where a process died, or an answer was not waited for, they are ended: then each closes its environment."""
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
            raise FaultyEnvironmentError(f"A process of {self._id} ended {self._where()}.") from error
        except Exception as error:
            raise FaultyEnvironmentError(failure(self._id, self._where(), error)) from error
        except BaseException:  # an interrupt, after which some answers are read and others not
            self._broken = True
            raise

    def _rows(self, observations: Any) -> tuple[NDArray[Any], dict[str, BoolArray]]:
        """Observations as the loop takes them, and action masks; those that come from processes were checked there."""
        if self._is_packed:
            unpacked, masks = unpack(observations, self._row_dtype, self._masked_actions)
            return unpacked, {ACTION_MASK: masks} if self._masked_actions else {}
        shape = (self.num_envs, *self._row_dtype.shape)
        if np.shape(observations) != shape:
            found, expected = list(np.shape(observations)), list(shape)
            raise FaultyEnvironmentError(
                f"{self._id} gave observations of shape {found}, not {expected}, {self._where()}."
            )
        if observations.dtype.kind == "f" and (problem := not_learnable(observations)):
            raise FaultyEnvironmentError(f"{self._id} gave an observation {problem} {self._where()}.")
        rows: NDArray[Any] = observations
        return rows, {}

    def _where(self) -> str:
        return f"in step {self._steps} of {self.num_envs} environments" if self._steps else "in reset"
