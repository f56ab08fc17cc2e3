"""The time and a player, for tests of compaction."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dqn_experience.recording.writer import ExperienceWriter
from dqn_testing.experience import Clock, Player


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock under the test's control."""
    return Clock(monkeypatch)


@pytest.fixture
def player(tmp_path: Path, clock: Clock) -> Any:  # noqa: ARG001  (the time must be set first)
    """The recorded player."""
    with closing(ExperienceWriter(tmp_path)) as writer:
        yield Player(writer)
