"""A process that records, or compacts, until it is killed: `python recorder.py STORE`.

A line on standard input starts a child, forked after all imports so that it starts at once: `record` plays episodes
endlessly, `compact` makes datasets endlessly, and `compact 17` makes one and kills itself at the 17th line of the code
that does so. Each line on standard output reports progress: `started PID`, `decided NAME STEP` before outcomes
are reported, `acknowledged NAME STEPS`, `released NUMBER`, and `ended STATUS` when the child is gone.
"""

import itertools
import secrets
import sys
import time
from pathlib import Path

from dqn_experience import datasets
from dqn_experience.compaction import compact as compact_module
from dqn_experience.compaction.compact import compact
from dqn_experience.compaction.episode_table import JoinSettings
from dqn_experience.log import files
from dqn_experience.recording.settings import WriterSettings
from dqn_experience.recording.writer import ExperienceWriter
from dqn_models import durable
from dqn_testing.crashing import report, run_children
from dqn_testing.experience import MODEL, Player

SETTINGS = JoinSettings(idle_seconds=0.0, reward_wait_seconds=0.0)


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


def main() -> None:
    """Runs one child after another, as standard input says."""
    operations = {"record": record, "compact": make}
    store = Path(sys.argv[1])
    run_children(lambda operation: operations[operation](store), (compact_module, datasets, durable, files))


if __name__ == "__main__":
    main()
