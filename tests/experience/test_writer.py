"""Decisions that are written without waiting, and outcomes that are acknowledged once they are durable."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from dqn_experience.errors import ContradictionError, RecordError
from dqn_experience.exploration import share_of
from dqn_experience.log import files
from dqn_experience.log.reading import read_log
from dqn_experience.records import Outcome, RecordedEpisode
from dqn_testing.experience import MODEL, behavior, observation, recording, steps_of, store_with

NONE = np.zeros((0, 4), np.float32)


def test_what_is_acknowledged_can_be_read_at_once(tmp_path: Path) -> None:
    """While the writer is running, a reader finds every acknowledged outcome and every decision before it."""
    with recording(tmp_path) as (writer, player):
        player.play("a", 5)
        log = read_log(tmp_path, MODEL)
        assert steps_of(log) == {("a", step) for step in range(5)}
        assert log.outcomes["reward"].tolist() == [0, 1, 2, 3, 4]
        assert [file.sealed for file in files.log_files(tmp_path)] == [False]
        assert (writer.counters.decisions, writer.counters.outcomes) == (5, 5)
    assert [file.sealed for file in files.log_files(tmp_path)] == [True]
    assert steps_of(read_log(tmp_path, MODEL)) == {("a", step) for step in range(5)}


def test_decisions_alone_are_written_before_long(tmp_path: Path) -> None:
    """Without any outcome; what a writer still has when it is closed is also written."""
    with recording(tmp_path, group_seconds=0.001) as (writer, player):
        for step in range(1000):
            player.decide("a", step)
    assert len(read_log(tmp_path, MODEL).decisions) == writer.counters.decisions == 1000
    assert writer.pending_bytes == 0


def test_every_column_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Batches of several sizes, with and without masks, in one run."""
    with recording(tmp_path) as (writer, _):
        made = behavior(3)
        masks = np.array([[True, False], [True, True]])
        seen = np.arange(8, dtype=np.float32).reshape(2, 4)
        writer.append(made, ["a", "b"], [7, 9], seen, [0, 1], [0.75, 0.25], [0.5, 0.125], masks)
        writer.append(made, ["a"], [8], seen[:1], [1], [1.0], [0.0])
    log = read_log(tmp_path, MODEL)
    found = log.decisions
    assert [log.names[number] for number in found["episode"]] == ["a", "b", "a"]
    assert found["step"].tolist() == [7, 9, 8]
    assert found["action"].tolist() == [0, 1, 1]
    assert found["propensity"].tolist() == [0.75, 0.25, 1.0]
    assert found["epsilon"].tolist() == [0.5, 0.125, 0.0]
    assert log.behaviors == [made]


def test_an_identical_repeat_is_accepted_and_a_contradiction_is_not(tmp_path: Path) -> None:
    """In one call or several, before or after it is durable; a call with a contradiction records nothing."""
    with recording(tmp_path) as (writer, _):
        first = writer.report(MODEL, [Outcome("a", 0, 1.0), Outcome("a", 0, 1.0)])
        writer.report(MODEL, [Outcome("a", 0, 1.0)]).result(10)
        first.result(10)
        for other in (Outcome("a", 0, 2.0), Outcome("a", 0, 1.0, "terminated"), Outcome("a", 0, 1.0, executed=1)):
            with pytest.raises(ContradictionError, match="Episode a of cartpole has an outcome for step 0 already"):
                writer.report(MODEL, [Outcome("b", 0, 1.0), other])
        with pytest.raises(ContradictionError):
            writer.report(MODEL, [Outcome("c", 0, 1.0), Outcome("c", 0, 2.0)])
        writer.report("other", [Outcome("a", 0, 2.0)]).result(10)
        assert writer.counters.outcomes == 2
    assert len(read_log(tmp_path, MODEL).outcomes) == 1


def test_whole_episodes_are_idempotent_as_well(tmp_path: Path) -> None:
    """They are identified by name."""
    with recording(tmp_path) as (writer, _):
        made = behavior(0)
        recorded = RecordedEpisode("plc-1", bytes(48), [0, 1], [1.0, 2.0], None, "terminated")
        for _ in range(2):
            writer.record(made, recorded).result(10)
        with pytest.raises(ContradictionError, match="was recorded as a whole already"):
            writer.record(made, RecordedEpisode("plc-1", bytes(48), [0, 1], [1.0, 3.0], None, "terminated"))
    assert [imported.recorded for imported in read_log(tmp_path, MODEL).imported] == [recorded]


def test_one_invalid_outcome_refuses_its_call(tmp_path: Path) -> None:
    """Nothing of that call is recorded."""
    with recording(tmp_path) as (writer, _):
        with pytest.raises(RecordError):
            writer.report(MODEL, [Outcome("a", 0, 1.0), Outcome("a", 1, float("nan"))])
        assert writer.counters.outcomes == 0
        writer.report(MODEL, []).result(10)


def test_invalid_decisions_are_counted_and_affect_no_others(tmp_path: Path) -> None:
    """Names, lengths, dtypes and numbers that do not fit; appending never raises."""
    seen = observation("a", 0)[None]
    with recording(tmp_path, group_seconds=0.2) as (writer, player):
        made = behavior()
        player.decide("good", 0)
        writer.append(made, ["a\nb"], [0], seen, [0], [1.0], [0.0])
        writer.append(made, ["a"], [0], seen[:, :3], [0], [1.0], [0.0])
        writer.append(made, ["a"], [-1], seen, [0], [1.0], [0.0])
        writer.append(made, ["a"], [2**40], seen, [0], [1.0], [0.0])
        writer.append(made, ["a"], [0], seen, [70_000], [1.0], [0.0])
        writer.append(made, ["a"], [0], seen, [0], [], [0.0])
        writer.append(made, [], [], NONE, [], [], [])
        player.decide("good", 1)
    assert steps_of(read_log(tmp_path, MODEL)) == {("good", 0), ("good", 1)}
    assert writer.counters.dropped["invalid"] == 6


def test_a_sample_has_whole_episodes_chosen_by_their_names(tmp_path: Path) -> None:
    """Others leave no trace, their outcomes are accepted, and records have their probability of being kept."""
    with recording(tmp_path, sample=0.3, salt="s") as (writer, player):
        for number in range(60):
            player.play(f"e{number}", 3)
    log = read_log(tmp_path, MODEL)
    chosen = {f"e{number}" for number in range(60) if share_of("s", MODEL, f"e{number}") < 0.3}
    assert 5 < len(chosen) < 35
    assert set(log.names) == chosen
    assert np.unique(log.decisions["passed"]).tolist() == [np.float32(0.3)]
    assert writer.counters.dropped["sampling"] == 3 * (60 - len(chosen))


def test_files_are_sealed_by_size_and_never_change_again(tmp_path: Path) -> None:
    """All decisions are there, across many files; a sealed file has no side files."""
    with recording(tmp_path, seal_bytes=1) as (writer, player):
        for number in range(5):
            player.play(f"e{number}", 2)
        before = {file.path: file.path.read_bytes() for file in files.log_files(tmp_path) if file.sealed}
        assert len(before) >= 4
        player.play("last", 2)
    assert all(path.read_bytes() == data for path, data in before.items())
    assert {path.suffix for path in (tmp_path / "log").iterdir()} == {".sqlite"}
    assert len(read_log(tmp_path, MODEL).decisions) == 12
    assert writer.counters.sealed == len(files.log_files(tmp_path))


def test_files_are_sealed_by_age(tmp_path: Path) -> None:
    """Even if nothing more is recorded."""
    with recording(tmp_path, seal_seconds=0.05) as (writer, player):
        player.play("a", 2)
        sealed = threading.Event()
        for _ in range(200):
            if writer.counters.sealed or sealed.wait(0.05):
                break
        assert writer.counters.sealed == 1


def test_the_quota_removes_the_oldest_files(tmp_path: Path) -> None:
    """The log stays within it, the newest records are there, and the removed ones are counted."""
    with recording(tmp_path, quota_bytes=400_000) as (writer, player):
        for number in range(60):
            seen = np.zeros((500, 4), np.float32)
            made = behavior()
            writer.append(made, [f"e{number}"] * 500, range(500), seen, [0] * 500, [0.5] * 500, [1.0] * 500)
            player.play(f"p{number}", 1)
    assert sum(file.size for file in files.log_files(tmp_path)) <= 400_000
    assert writer.counters.removed > 0
    log = read_log(tmp_path, MODEL)
    assert "p59" in log.names
    assert "p0" not in log.names


def test_two_writers_and_a_third_that_follows_a_killed_one_share_a_store(tmp_path: Path) -> None:
    """Each has its own file; the next one seals what a dead one left."""
    with recording(tmp_path, node="one") as (_, player), recording(tmp_path, node="two") as (_, other):
        player.play("a", 2)
        other.play("b", 2)
        assert len(files.log_files(tmp_path)) == 2
        assert files.adopt(tmp_path) == []
    store_with(tmp_path, ("c", 2, "terminated"))
    assert set(read_log(tmp_path, MODEL).names) == {"a", "b", "c"}


def test_a_writer_knows_what_was_reported_before_it_began(tmp_path: Path) -> None:
    """An identical repeat is recorded once, and a contradiction refused, after a restart and whatever was killed."""
    whole = RecordedEpisode("plc-1", bytes(32), [0], [1], None, "terminated")
    with recording(tmp_path) as (writer, _):
        writer.report(MODEL, [Outcome("a", 0, 1), Outcome("a", 1, 2.0, "terminated", bytes(16))]).result(10)
        writer.record(behavior(0), whole).result(10)
    with recording(tmp_path) as (writer, _):
        writer.report(MODEL, [Outcome("b", 0, 1.0)]).result(10)  # it has read the log before it writes
        writer.report(MODEL, [Outcome("a", 0, 1.0), Outcome("a", 1, 2.0, "terminated", bytes(16))]).result(10)
        writer.record(behavior(0), whole).result(10)
        assert (writer.counters.outcomes, writer.counters.episodes) == (1, 0)
        with pytest.raises(ContradictionError):
            writer.report(MODEL, [Outcome("a", 0, 3.0)])


def test_a_lock_whose_process_died_before_its_file_existed_is_removed(tmp_path: Path) -> None:
    """Adopting removes a lock that nobody holds and that has no file, and keeps one that a process holds."""
    held, orphaned = (files.new_path(tmp_path) for _ in range(2))
    held.parent.mkdir()
    descriptor = files.hold(held)
    assert descriptor is not None
    orphaned.with_suffix(files.LOCK).touch()
    files.adopt(tmp_path)
    assert list(held.parent.iterdir()) == [held.with_suffix(files.LOCK)]
    os.close(descriptor)
    files.adopt(tmp_path)
    assert not list(held.parent.iterdir())
