"""Full and read-only disks."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dqn_experience import datasets, inspection
from dqn_experience.compaction.compact import compact
from dqn_experience.compaction.episode_table import JoinSettings
from dqn_experience.errors import UnavailableError
from dqn_experience.log.files import adopt, log_files
from dqn_experience.log.reading import read_log
from dqn_experience.recording.settings import WriterSettings
from dqn_experience.recording.writer import ExperienceWriter
from dqn_experience.records import Outcome
from dqn_testing.disks import fill, mount, small_file_system
from dqn_testing.experience import MODEL, Player, store_with

PAGES = 256


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few pages."""
    with small_file_system(tmp_path / "disk", PAGES) as disk:
        yield disk


def report(writer: ExperienceWriter, episode: str) -> bool:
    """Reports an outcome; returns whether it was acknowledged."""
    try:
        writer.report(MODEL, [Outcome(episode, 0, 1.0, "terminated")]).result(10)
    except UnavailableError:
        return False
    return True


def assert_nothing_is_lost(store: Path, acknowledged: set[str]) -> None:
    """Everything can be read, including all that was acknowledged."""
    log = read_log(store, MODEL)
    assert acknowledged <= {log.names[row["episode"]] for row in log.outcomes}
    assert not any(source.error or source.damaged_rows for source in log.sources)


@pytest.mark.parametrize("free_pages", [0, 1, 2, 3, 5, 8, 13, 21, 34, 55])
def test_a_disk_that_fills_up_loses_nothing_that_was_acknowledged(small_disk: Path, free_pages: int) -> None:
    """Decisions continue in memory and outcomes are refused; with space again, everything recovers by itself."""
    store = small_disk / "store"
    with closing(ExperienceWriter(store, WriterSettings(retry_seconds=0.005))) as writer:
        player = Player(writer)
        player.play("before", 3)
        fill(small_disk, free_pages)
        acknowledged = {"before"}
        for number in range(60):
            player.decide(f"full{number}", 0)
            if report(writer, f"full{number}"):
                acknowledged.add(f"full{number}")
        assert_nothing_is_lost(store, acknowledged)
        (small_disk / "filler").unlink()
        deadline = time.monotonic() + 30
        while not report(writer, "after"):
            assert time.monotonic() < deadline
        refused = 60 - (len(acknowledged) - 1)
        assert (writer.counters.failures > 0) == (refused > 0)
    assert_nothing_is_lost(store, acknowledged | {"after"})
    log = read_log(store, MODEL)
    assert {log.names[row["episode"]] for row in log.decisions} >= {f"full{number}" for number in range(60)}


def test_a_read_only_disk_is_reported_and_read(small_disk: Path) -> None:
    """Outcomes are refused; existing records can be read and exported."""
    store = store_with(small_disk / "store", ("a", 2, "terminated"))
    mount("-o", "remount,ro", str(small_disk))
    with closing(ExperienceWriter(store)) as writer:
        Player(writer).decide("b", 0)
        assert not report(writer, "b")
        assert_nothing_is_lost(store, {"a"})
    mount("-o", "remount,rw", str(small_disk))


def test_a_live_file_on_a_disk_that_may_not_be_written_stays_as_it_is(small_disk: Path) -> None:
    """What a killed process left there is no obstacle for whoever looks."""
    store = store_with(small_disk / "store", ("a", 2, "terminated"))
    path = log_files(store)[0].path
    path.rename(path.with_suffix(".live"))
    mount("-o", "remount,ro", str(small_disk))
    assert adopt(store) == []
    assert_nothing_is_lost(store, {"a"})
    mount("-o", "remount,rw", str(small_disk))
    assert adopt(store) == [path]


def test_a_compaction_on_a_full_disk_fails_and_leaves_the_log(small_disk: Path) -> None:
    """With 0, 1, 2, ... pages left it makes the dataset or says why not; nothing that existed is damaged."""
    store = store_with(small_disk / "store", *((f"e{number}", 3, "terminated") for number in range(5)))
    copy, settings, done = shutil.copytree(store, small_disk.with_name("copy")), JoinSettings(0, 0), []
    for free_pages in range(12):
        fill(small_disk, free_pages)
        made = None
        with contextlib.suppress(OSError):
            made = compact(store, MODEL, settings, now=time.time_ns() // 1_000_000 + 1).dataset
        done.append(made is not None)
        assert datasets.numbers(store, MODEL) == ([made.dataset] if made else [])
        assert all(result["error"] == "" for result in inspection.check(store))
        assert len(log_files(store)) == 1
        (small_disk / "filler").unlink()
        shutil.rmtree(store)
        shutil.copytree(copy, store)
    assert done == sorted(done)
    assert done[-1]
    assert not done[0]
