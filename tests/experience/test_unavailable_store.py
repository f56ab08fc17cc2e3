"""A store whose disk is gone or slow: outcomes are refused, decisions wait in memory, and all recovers by itself."""

import shutil
import threading
from pathlib import Path

import pytest

from dqn_experience.errors import UnavailableError
from dqn_experience.exploration import share_of
from dqn_experience.log.reading import read_log
from dqn_experience.recording.log_output import LogOutput
from dqn_experience.recording.pending import PackedRun, Report
from dqn_experience.recording.writer import ExperienceWriter
from dqn_experience.records import Outcome
from dqn_testing.experience import MODEL, recording, steps_of


def test_a_log_that_is_removed_while_it_is_written_is_restarted(tmp_path: Path) -> None:
    """Nothing is acknowledged that is in an unlinked file."""
    store = tmp_path / "store"
    with recording(store, retry_seconds=0.01) as (writer, player):
        player.play("a", 2)
        shutil.rmtree(store)
        retry(writer, Outcome("b", 0, 1.0))
    assert "b" in read_log(store, MODEL).names


def retry(writer: ExperienceWriter, outcome: Outcome) -> None:
    """Reports an outcome until the store takes it, as a client does."""
    pause = threading.Event()
    for _ in range(1000):
        try:
            writer.report(MODEL, [outcome]).result(10)
        except UnavailableError:
            pause.wait(0.01)
        else:
            return
    pytest.fail("the store stays unavailable")


def test_a_full_buffer_drops_whole_episodes_by_their_names(tmp_path: Path) -> None:
    """While the disk is gone, memory stays bounded; those with the lowest hashes stay, with their probability."""
    store = tmp_path / "store"
    store.write_text("in the way")
    with recording(store, retry_seconds=0.01, buffer_bytes=64_000) as (writer, player):
        for number in range(2000):
            player.decide(f"e{number}", 0)
        assert writer.pending_bytes <= 64_000 + 1000
        assert writer.fraction < 1.0
        assert writer.counters.dropped["overload"] > 0
        store.unlink()
        retry(writer, Outcome("x", 0, 1.0))
    log = read_log(store, MODEL)
    for row in log.decisions:
        assert share_of("", MODEL, log.names[row["episode"]]) < row["passed"] or row["passed"] == 1.0
    assert 0 < len(log.decisions) < 2000


def test_a_slow_disk_refuses_outcomes_and_never_makes_decisions_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that takes longer than the patience; the outcome in it is acknowledged in the end."""
    commit, begun, go_on = LogOutput.commit, threading.Event(), threading.Event()

    def slow(output: LogOutput, runs: list[PackedRun], reports: list[Report]) -> None:
        begun.set()
        assert go_on.wait(30)
        commit(output, runs, reports)

    with recording(tmp_path, patience_seconds=0.01) as (writer, player):
        monkeypatch.setattr(LogOutput, "commit", slow)
        first = writer.report(MODEL, [Outcome("a", 0, 1.0)])
        assert begun.wait(30)
        pause = threading.Event()
        while writer.is_available:
            pause.wait(0.01)
        with pytest.raises(UnavailableError):
            writer.report(MODEL, [Outcome("b", 0, 1.0)])
        for step in range(100):
            player.decide("a", step)
        assert not first.done()
        go_on.set()
        first.result(10)
        assert writer.is_available
    assert len(read_log(tmp_path, MODEL).decisions) == 100


def test_whatever_fails_in_the_writer_is_a_refusal_and_not_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even a fault of ours: outcomes are refused, decisions are kept, and all goes on when it is over."""
    commit, left = LogOutput.commit, [1, 1]

    def faulty(output: LogOutput, runs: list[PackedRun], reports: list[Report]) -> None:
        if left and left.pop():
            raise RuntimeError("a fault")
        commit(output, runs, reports)

    monkeypatch.setattr(LogOutput, "commit", faulty)
    with recording(tmp_path, retry_seconds=0.01, group_seconds=10.0) as (writer, player):
        player.decide("a", 0)
        with pytest.raises(UnavailableError, match="a fault"):
            writer.report(MODEL, [Outcome("a", 0, 1.0)]).result(10)
        retry(writer, Outcome("a", 0, 1.0))
    assert steps_of(read_log(tmp_path, MODEL)) == {("a", 0)}


def test_a_missing_store_refuses_outcomes_and_takes_decisions(tmp_path: Path) -> None:
    """While its folder cannot be created, outcomes fail with a typed error; afterwards everything is as before."""
    store = tmp_path / "store"
    store.write_text("in the way")
    with recording(store, retry_seconds=0.01) as (writer, player):
        player.decide("a", 0)
        with pytest.raises(UnavailableError, match="Try again later"):
            writer.report(MODEL, [Outcome("a", 0, 1.0)]).result(10)
        assert not writer.is_available
        with pytest.raises(UnavailableError, match="full, slow or gone"):
            writer.report(MODEL, [Outcome("a", 0, 1.0)])
        player.decide("a", 1)
        store.unlink()
        retry(writer, Outcome("a", 0, 1.0))
        assert writer.is_available
    log = read_log(store, MODEL)
    assert steps_of(log) == {("a", 0), ("a", 1)}
    assert len(log.outcomes) == 1
    assert writer.counters.failures > 0
    assert writer.counters.refused > 0
