"""A process that records, or compacts, until it is killed: `python recorder.py STORE`.

A line on standard input starts a child, forked after all imports so that it starts at once: `record` plays episodes
endlessly, `compact` makes datasets endlessly, and `compact 17` makes one and kills itself at the 17th line of the code
that does so. Each line on standard output reports progress: `started PID`, `decided NAME STEP` before outcomes
are reported, `acknowledged NAME STEPS`, `released NUMBER`, and `ended STATUS` when the child is gone.
"""

import itertools
import os
import secrets
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from dqn_experience.compaction.compact import compact
from dqn_experience.compaction.episode_table import JoinSettings
from dqn_experience.recording.settings import WriterSettings
from dqn_experience.recording.writer import ExperienceWriter
from dqn_testing.experience import MODEL, Player

SETTINGS = JoinSettings(idle_seconds=0.0, reward_wait_seconds=0.0)
TRACED = {"compaction.py", "datasets.py", "durable.py", "files.py"}


def report(*words: object) -> None:
    """Reports to the test, in one write, so that a kill tears no line."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def record(store: Path) -> None:
    """Plays short episodes; files are sealed every few of them."""
    writer = ExperienceWriter(store, WriterSettings(seal_bytes=3000, group_seconds=0.001))
    player, name = Player(writer), secrets.token_hex(4)
    for number in itertools.count():
        episode, steps = f"{name}-{number}", 1 + number % 5
        player.play(episode, steps)
        report("acknowledged", episode, steps)


def make(store: Path) -> None:
    """Makes a dataset of the episodes closed so far."""
    dataset = compact(store, MODEL, SETTINGS, now=time.time_ns() // 1_000_000 + 1).dataset
    if dataset is not None:
        report("released", dataset.dataset)


def kill_at_line(number: int) -> None:
    """Makes this process kill itself when it reaches the `number`-th line of the code from here on."""
    lines = itertools.count(1)

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        if Path(frame.f_code.co_filename).name not in TRACED:
            return None
        if event == "line" and next(lines) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def main() -> None:
    """Runs one child after another, as standard input says."""
    store = Path(sys.argv[1])
    for line in sys.stdin:
        operation, *line_number = line.split()
        child = os.fork()
        if not child:
            report("started", os.getpid())
            if operation == "record":
                record(store)
            if line_number:
                kill_at_line(int(line_number[0]))
            make(store)
            os._exit(0)
        report("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
