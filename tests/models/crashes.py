"""The tests' counterpart of `publisher.py`, and what must hold in a repository whatever happened to its writers."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dqn_models.repository import ModelRepository
from tests.models.publisher import MODEL

ROOT = Path(__file__).parents[2]
OBSERVATIONS = np.array([[0, 0, 0.1, 0], [0, 0, -0.1, 0]], np.float32)


class Publisher:
    """A running `publisher.py`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Takes over a process whose standard input and output are pipes."""
        assert process.stdin
        assert process.stdout
        self._input, self._output = process.stdin, process.stdout

    def start(self, command: str) -> int:
        """Starts a child and returns its process id."""
        print(command, file=self._input, flush=True)
        word, pid = self._output.readline().split()
        assert word == "started"
        return int(pid)

    def reports(self) -> Iterator[tuple[str, int]]:
        """What the child did, up to and including its end."""
        for line in self._output:
            word, number = line.split()
            yield word, int(number)
            if word == "ended":
                return


@contextmanager
def publisher(root: Path) -> Iterator[Publisher]:
    """Runs `publisher.py` on a repository."""
    command = [sys.executable, "-m", "tests.models.publisher", str(root.absolute())]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Publisher(process)


def assert_sound(repository: ModelRepository, published: set[int], already_verified: set[int]) -> None:
    """The repository lists, verifies and serves; nothing in `published` is lost; the champion exists; history is read.

    Adds what it verified to `already_verified`, which it trusts: versions never change.
    """
    versions = set(repository.versions(MODEL))
    assert published <= versions, f"lost: {published - versions}"
    for version in versions - already_verified:
        repository.verify(MODEL, version)
        already_verified.add(version)
    champion = repository.alias(MODEL)
    if champion is not None:
        assert champion in versions, f"champion names {champion}, which is not there"
        assert repository.load_policy(MODEL, champion).act(OBSERVATIONS).tolist() == [1, 0]
    events = [event for event in repository.history(MODEL) if event["event"] == "publish"]
    numbers = [event["version"] for event in events]
    assert numbers == sorted(set(numbers)), "a version number was used twice"
    assert versions <= set(numbers), "a version is missing in the history"
