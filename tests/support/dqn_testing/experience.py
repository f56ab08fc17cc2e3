"""Experience as a server would record it: a policy of two actions that plays episodes."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dqn_experience import datasets
from dqn_experience.compaction.compact import Compacted, compact
from dqn_experience.compaction.episode_table import JoinSettings
from dqn_experience.datasets import Episode
from dqn_experience.exploration import episode_key, explore
from dqn_experience.log.model_log import ModelLog
from dqn_experience.recording.settings import WriterSettings
from dqn_experience.recording.writer import ExperienceWriter
from dqn_experience.records import Behavior, Outcome, row_of

MODEL = "cartpole"
SALT = "salt"
SETTINGS = JoinSettings(idle_seconds=60, reward_wait_seconds=600)
ROW = np.dtype(("<f4", (4,)))


def behavior(version: int = 1, *, model: str = MODEL, row: np.dtype[Any] = ROW, n_actions: int = 2) -> Behavior:
    """A version of a model or, with 0, somebody else."""
    return Behavior(model, version, f"{version:064}", row_of(row), n_actions, SALT)


def observation(episode: str, step: int) -> NDArray[np.float32]:
    """The observation in a step, or after the last one."""
    return np.array([len(episode), step, step % 7, -step], np.float32)


def q_values(_behavior: Behavior, observations: NDArray[Any]) -> NDArray[np.float32]:
    """Q-values [n, 2] of the policy: the first action is better in even steps."""
    even = observations[:, 1] % 2 == 0
    return np.stack([np.where(even, 1.0, 0.0), np.full(len(observations), 0.5)], axis=1).astype(np.float32)


class Player:
    """Plays episodes and records them."""

    def __init__(self, writer: ExperienceWriter, *, epsilon: float = 0.1, behavior: Behavior | None = None) -> None:
        """Decides epsilon-greedily as `behavior`."""
        self.writer, self.epsilon = writer, epsilon
        self.behavior = behavior or globals()["behavior"]()

    def decide(self, episode: str, step: int) -> int:
        """Makes and records a decision; returns the action."""
        seen = observation(episode, step)[None]
        greedy = int(q_values(self.behavior, seen)[0].argmax())
        key = episode_key(self.behavior.salt, self.behavior.model, episode)
        action, propensity = explore(key, step, greedy, self.epsilon, self.behavior.n_actions)
        self.writer.append(self.behavior, [episode], [step], seen, [action], [propensity], [self.epsilon])
        return action

    def outcome(self, episode: str, step: int, steps: int, end: str = "terminated") -> Outcome:
        """The outcome of a step of an episode with this many steps."""
        last = step == steps - 1 and end
        final = observation(episode, steps).tobytes() if last else None
        return Outcome(episode, step, float(step), end if last else "", final)  # type: ignore[arg-type]  # one of the three

    def play(self, episode: str, steps: int, end: str = "terminated") -> None:
        """Plays a whole episode until its outcomes are durable."""
        for step in range(steps):
            self.decide(episode, step)
        outcomes = [self.outcome(episode, step, steps, end) for step in range(steps)]
        self.writer.report(self.behavior.model, outcomes).result(10)


def store_with(path: Path, *episodes: tuple[str, int, str], epsilon: float = 0.1) -> Path:
    """A store with recordings of these episodes (name, steps, end) and with its files sealed."""
    writer = ExperienceWriter(path)
    player = Player(writer, epsilon=epsilon)
    for name, steps, end in episodes:
        player.play(name, steps, end)
    writer.close()
    return path


@contextmanager
def recording(store: Path, **settings: object) -> Iterator[tuple[ExperienceWriter, Player]]:
    """A writer and a player."""
    with closing(ExperienceWriter(store, WriterSettings(**settings))) as writer:  # type: ignore[arg-type]  # any of them
        yield writer, Player(writer)


def steps_of(log: ModelLog) -> set[tuple[str, int]]:
    """What was decided."""
    return {(log.names[row["episode"]], int(row["step"])) for row in log.decisions}


class Clock:
    """A clock that a test sets, in ms."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replaces the clock of the code under test."""
        self.now = 1_800_000_000_000
        monkeypatch.setattr("dqn_experience.recording.writer.time.time_ns", lambda: self.now * 1_000_000)

    def pass_(self, seconds: float) -> None:
        """Advances the clock."""
        self.now += round(seconds * 1000)


def flush(player: Player) -> None:
    """Waits until everything is written."""
    player.writer.report("flush", [Outcome("flush", 0, 0.0)]).result(10)


def made(store: Path, now: int, **changes: Any) -> Compacted:
    """The datasets that a compaction makes."""
    return compact(store, MODEL, SETTINGS, now=now, **changes)


def episodes(store: Path, result: Compacted) -> dict[str, Episode]:
    """The episodes of the dataset, by name."""
    assert result.dataset is not None
    return {episode.name: episode for episode in datasets.episodes(store, result.dataset)}
