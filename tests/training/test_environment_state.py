"""The state of environments: what is restored continues as before, and what cannot be restored is reported."""

import enum
import functools
import random
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from dqn_training.checkpoint.store import CheckpointFile
from dqn_training.config import DQNConfig, Vectorization
from dqn_training.envs.make import environment_for
from dqn_training.envs.snapshot import UncapturableError, capture_environment, restore_environment
from dqn_training.envs.vector import AnyVectorEnv, SerialVectorEnv, make_vector_environment

COUNT = 3


def through_a_file(state: Any, folder: Path) -> Any:
    """A state after a round trip through a checkpoint."""
    file = CheckpointFile(folder / "checkpoint")
    file.write({"state": state})
    file.settle()
    read = CheckpointFile(file.path).read()
    assert read is not None
    return read["state"]


def made(config: DQNConfig, mode: Vectorization, seed: int) -> AnyVectorEnv:
    """Environments that have been reset."""
    environments = make_vector_environment(environment_for(config), COUNT, mode)
    environments.reset(seed=seed)
    return environments


@pytest.mark.parametrize(
    ("config", "mode"),
    [
        (DQNConfig("CartPole-v1"), "native"),
        (DQNConfig("CartPole-v1"), "sync"),
        (DQNConfig("Acrobot-v1"), "sync"),
        (DQNConfig("MountainCar-v0"), "sync"),
        (DQNConfig("FrozenLake-v1"), "sync"),
        (DQNConfig("Taxi-v4"), "sync"),
        (DQNConfig("MinAtar/Breakout-v1"), "sync"),
        (DQNConfig("MinAtar/Seaquest-v1", frame_stack=2), "sync"),
        (DQNConfig("tests.training.environments:Countdown-v0", {"space": "image"}), "sync"),
        (DQNConfig("tests.training.test_environment_state:Pockets-v0"), "sync"),
    ],
    ids=lambda value: value.env_id if isinstance(value, DQNConfig) else value,
)
def test_environments_continue_from_a_captured_state(config: DQNConfig, mode: Vectorization, tmp_path: Path) -> None:
    """New environments with the state of old ones respond to actions in the same way, through many episodes."""
    old, new = made(config, mode, 5), made(config, mode, 99)
    generator = np.random.default_rng(0)
    space = old.single_action_space
    assert isinstance(space, spaces.Discrete)

    def actions() -> Any:
        return generator.integers(space.n, size=COUNT) + space.start

    for _ in range(137):
        old.step(actions())
    restore_environment(new, through_a_file(capture_environment(old), tmp_path))
    ended = 0
    for _ in range(600):
        chosen = actions()
        expected, found = old.step(chosen), new.step(chosen)
        for index in range(4):
            np.testing.assert_array_equal(expected[index], found[index])
        ended += int((expected[2] | expected[3]).sum())
    assert ended >= COUNT


def test_equal_tables_are_kept_once_and_written_again_only_when_they_change(tmp_path: Path) -> None:
    """Taxi's transitions are the same in every environment; one that is changed in place is different from then on."""
    environments = made(DQNConfig("Taxi-v4"), "sync", 5)
    first = capture_environment(environments)
    ((digest, text),) = first["tables"].items()
    environments.step(np.zeros(COUNT, np.int64))
    second = capture_environment(environments, first)
    assert second["tables"][digest] is text
    assert isinstance(environments, SerialVectorEnv)
    environments.envs[0].get_wrapper_attr("P")[0][0][0] = (1.0, 0, 99, False)
    third = capture_environment(environments, second)
    assert len(third["tables"]) == 2
    new = made(DQNConfig("Taxi-v4"), "sync", 6)
    restore_environment(new, through_a_file(third, tmp_path))
    assert isinstance(new, SerialVectorEnv)
    assert [each.get_wrapper_attr("P")[0][0][0][2] for each in new.envs] == [99, -1, -1]


@pytest.mark.parametrize(
    ("env_id", "mode", "words"),
    [
        ("CartPole-v1", "async", "separate processes"),
        ("ALE/Breakout-v5", "sync", "ALEInterface"),
        ("tests.training.test_environment_state:Clockwork-v0", "sync", "engine is of type builtins.generator"),
        ("tests.training.test_environment_state:Hoarder-v0", "sync", "hoard.func is a function with state"),
    ],
)
def test_what_cannot_be_captured_is_named(env_id: str, mode: Vectorization, words: str) -> None:
    """Other processes, emulators and engines are refused, naming the part that cannot be captured."""
    environments = made(DQNConfig(env_id), mode, 1)
    try:
        with pytest.raises(UncapturableError, match=words):
            capture_environment(environments)
    finally:
        environments.close()


def test_a_state_fits_no_other_environment(tmp_path: Path) -> None:
    """The state of one environment is refused by another kind, naming the part that does not fit."""
    state = through_a_file(capture_environment(made(DQNConfig("Acrobot-v1"), "sync", 1)), tmp_path)
    with pytest.raises(UncapturableError, match=r"has no .* for environment"):
        restore_environment(made(DQNConfig("CartPole-v1"), "native", 1), state)


def test_a_function_that_was_changed_is_refused(tmp_path: Path) -> None:
    """Functions are recorded by name only: one that a new environment does not have cannot be restored."""
    config = DQNConfig("tests.training.test_environment_state:Moody-v0")
    old = made(config, "sync", 1)
    old.step(np.zeros(COUNT, np.int64))
    with pytest.raises(UncapturableError, match=r"no Pockets\._fall for environment\.envs\[0\]\..*\.change"):
        restore_environment(made(config, "sync", 2), through_a_file(capture_environment(old), tmp_path))


class Mood(enum.Enum):
    """A part of an environment with a few values."""

    LOW = 0
    FAIR = 1
    HIGH = 2


class Pocket:
    """A part of an environment with its own state."""

    def __init__(self) -> None:
        self.coins = 0

    def pay(self) -> None:
        """Changes it from outside, by a method that an environment keeps."""
        self.coins += 1


def counter() -> Callable[..., int]:
    """A function with a counter in its closure."""
    count = 0

    def step(by: int = 1) -> int:
        nonlocal count
        count = (count + by) % 11
        return count

    return step


class Pockets(gymnasium.Env[Any, Any]):
    """Has state in every kind of container, some of it in two places at once."""

    def __init__(self) -> None:
        self.action_space = spaces.Discrete(2)
        self.observation_space = spaces.Box(-100, 100, (10,), np.float64)
        self.pocket = self.same_pocket = Pocket()
        self.python = random.Random(0)
        self.legacy = np.random.RandomState(0)
        self.grid = np.zeros((4, 4))
        self.table: dict[int, list[Any]] = {index: [index, (0.0, None)] for index in range(40)}
        self.shared = [[0] for _ in range(40)]
        self.row = self.shared[7]
        self.mood = Mood.LOW
        self.count = counter()
        self.count_by = functools.partial(counter(), by=3)
        self.pay = self.pocket.pay
        self.change = self._rise

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Empties the containers."""
        super().reset(seed=seed, options=options)
        if seed is not None:
            self.python.seed(seed)
            self.legacy.seed(seed)
            self.action_space.seed(seed)
        self.steps = 0
        self.recent: deque[float] = deque([0.0], maxlen=3)
        self.named: dict[Any, Any] = {("a", 1): [0.0], None: b"\x01"}
        self.alias = self.named["a", 1]
        self.column = self.grid[:, 1]
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Changes everything in one place and reads it in the other."""
        self.steps += 1
        self.pocket.coins = (self.pocket.coins + int(action)) % 7
        self.recent.append(self.python.random())
        self.alias[0] = float(self.legacy.rand())
        self.column[self.steps % 4] += 1 + self.np_random.random()
        self.column %= 50
        self.table[self.steps % 5][1] = (self.np_random.random(), None)
        self.row[0] = (self.row[0] + self.steps) % 13
        self.mood = Mood((self.mood.value + 1) % 3)
        self.named[None] = bytes([self.count() + self.count_by()])
        self.pay()
        return self._observation(), float(self.action_space.sample()), self.steps >= 11, False, {}

    def _observation(self) -> Any:
        found = [self.same_pocket.coins + self.mood.value, sum(self.recent), self.named["a", 1][0], self.named[None][0]]
        return np.array([*found, *self.grid[:, 1], self.table[3][1][0], self.shared[7][0]])

    def _rise(self) -> None:
        pass

    def _fall(self) -> None:
        pass


class Moody(Pockets):
    """Remembers what to do next as a method, which no new environment would know."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Changes the method."""
        self.change = self._fall
        return super().step(action)


class Clockwork(Pockets):
    """Has an opaque engine."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts the engine."""
        self.engine = (tick for tick in range(10))
        return super().reset(seed=seed, options=options)


def hoard(found: list[int] = []) -> int:  # noqa: B006  (what the test is about)
    """Keeps values where nobody looks."""
    found.append(1)
    return len(found)


class Hoarder(Pockets):
    """Has a function with state that cannot be transferred to another process."""

    def __init__(self) -> None:
        super().__init__()
        self.hoard = functools.partial(hoard)


gymnasium.register("Hoarder-v0", f"{__name__}:Hoarder")
gymnasium.register("Pockets-v0", f"{__name__}:Pockets")
gymnasium.register("Moody-v0", f"{__name__}:Moody")
gymnasium.register("Clockwork-v0", f"{__name__}:Clockwork")
