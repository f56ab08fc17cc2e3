"""Files that are damaged, cut off, foreign or of another release."""

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from dqn_experience import datasets, inspection
from dqn_experience.compaction.compact import compact
from dqn_experience.compaction.episode_table import JoinSettings
from dqn_experience.errors import DamagedError, ExperienceError
from dqn_experience.log.database import SCHEMA_VERSION
from dqn_experience.log.model_log import ModelLog
from dqn_experience.log.reading import RowReader, read_log
from dqn_experience.recording.writer import ExperienceWriter
from dqn_experience.records import RecordedEpisode
from dqn_testing.experience import MODEL, Player, behavior, observation, store_with

SETTINGS = JoinSettings(0, 0)
LATER = 2_500_000_000_000


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a sealed file that has rows of every kind."""
    store = tmp_path_factory.mktemp("original")
    with closing(ExperienceWriter(store)) as writer:
        player = Player(writer)
        for name in ("a", "b", "c"):
            player.play(name, 3)
        writer.record(behavior(0), RecordedEpisode("whole", bytes(32), [0], [1.0])).result(10)
    return store


def the_file(store: Path) -> Path:
    """The only log file of a store."""
    (path,) = (store / "log").iterdir()
    return path


def assert_true_or_reported(store: Path) -> None:
    """Every value that is read was written; what is not read is reported."""
    log = read_log(store, MODEL)
    for row in log.decisions:
        assert log.names[row["episode"]] in {"a", "b", "c"}
        assert row["step"] in {0, 1, 2}
        assert row["propensity"] in {np.float32(0.95), np.float32(0.05)}
    assert set(log.outcomes["reward"].tolist()) <= {0.0, 1.0, 2.0}
    assert_observations_are_true(log)
    complete = (len(log.decisions), len(log.outcomes), len(log.imported)) == (9, 9, 1)
    said = any(source.error or source.damaged_rows for source in log.sources)
    assert complete or said or all(result["error"] for result in inspection.check(store))


def is_refused(store: Path) -> bool:
    """Whether the damage affects the schema version."""
    try:
        read_log(store, MODEL)
    except DamagedError as error:
        return "newer release" in str(error)
    return False


def assert_observations_are_true(log: ModelLog) -> None:
    """A row that can be read is the one that was observed."""
    rows = RowReader(log)
    for decision in log.decisions:
        try:
            seen, _ = rows.fetch(int(decision["run"]))
        except DamagedError:
            continue
        assert (seen[decision["row"]] == observation("a", int(decision["step"]))).all()


@pytest.mark.parametrize("step", [97, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", ["flip", "zero", "cut"])
def test_damage_anywhere_in_a_file_is_never_read_as_something_else(
    tmp_path: Path, original: Path, kind: str, step: int
) -> None:
    """Flipped and zeroed bytes, and files cut off there: the rest is read, and the loss is reported."""
    store = shutil.copytree(original, tmp_path / "store")
    path, chance = the_file(store), random.Random(0)
    whole = path.read_bytes()
    for place in range(chance.randrange(step), len(whole), step):
        if kind == "cut":
            damaged = whole[:place]
        else:
            new = whole[place] ^ (1 << chance.randrange(8)) if kind == "flip" else 0
            damaged = whole[:place] + bytes([new]) + whole[place + 1 :]
        path.write_bytes(damaged)
        if not is_refused(store):
            assert_true_or_reported(store)


def test_a_damaged_file_affects_only_its_own_episodes(tmp_path: Path, original: Path) -> None:
    """The dataset has the others, and its manifest names the damaged file."""
    store = shutil.copytree(original, tmp_path / "store")
    path = the_file(store)
    store_with(store, ("d", 2, "terminated"))
    path.write_bytes(path.read_bytes()[:5000])
    made = compact(store, MODEL, SETTINGS, now=LATER).dataset
    assert made is not None
    assert [episode.name for episode in datasets.episodes(store, made)] == ["d"]
    assert [bool(source.error) for source in made.sources] == [True, False]


def test_damaged_observations_drop_their_episodes(tmp_path: Path, original: Path) -> None:
    """They have a separate checksum."""
    store = shutil.copytree(original, tmp_path / "store")
    with closing(sqlite3.connect(the_file(store))) as connection, connection:
        connection.execute("UPDATE decisions SET observations = zeroblob(length(observations)) WHERE id = 1")
    store_with(store, ("d", 2, "terminated"))
    result = compact(store, MODEL, SETTINGS, now=LATER)
    assert result.dataset is not None
    assert "d" in {episode.name for episode in datasets.episodes(store, result.dataset)}
    assert result.dropped["damaged"] >= 1
    assert any("not what was written" in finding["error"] for finding in inspection.check(store))


def test_a_repeat_whose_observation_is_lost_is_no_repeat(tmp_path: Path) -> None:
    """Nobody can say whether it is the same decision: its episode is left out, and no other."""
    store = store_with(tmp_path, ("a", 2, "terminated"), ("b", 2, "terminated"))
    with closing(ExperienceWriter(store)) as writer:
        Player(writer).decide("a", 0)
    path = max((store / "log").iterdir())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE decisions SET observations = x'00'")
    result = compact(store, MODEL, SETTINGS, now=LATER)
    assert result.dataset is not None
    assert [episode.name for episode in datasets.episodes(store, result.dataset)] == ["b"]
    assert result.dropped == {"contradicted": 1}


@pytest.mark.parametrize("data", [b"", b"x", b"SQLite format 3\x00" + bytes(5000), bytes(4096)])
def test_files_that_are_not_logs_are_reported_and_ignored(tmp_path: Path, data: bytes) -> None:
    """An empty live file is what a kill leaves, and does not count; the next writer removes it."""
    store = store_with(tmp_path, ("a", 2, "terminated"))
    for suffix in (".sqlite", ".live"):
        foreign = store / f"log/20200101T000000-foreign-00000000{suffix}"
        foreign.write_bytes(data)
        assert len(read_log(store, MODEL).decisions) == 2
        is_wrong = suffix == ".sqlite" or len(data) > 1
        assert [bool(finding["error"]) for finding in inspection.check(store)] == [is_wrong, False]
        store_with(store, ("b", 2, "terminated"))
        assert foreign.exists() == is_wrong
        foreign.unlink(missing_ok=True)
        store = store_with(tmp_path / suffix, ("a", 2, "terminated"))


def test_a_newer_release_is_refused_and_an_equal_one_is_not(tmp_path: Path) -> None:
    """Its records would be missing from a dataset that cannot be changed afterwards."""
    store = store_with(tmp_path, ("a", 2, "terminated"))
    for version, refused in ((SCHEMA_VERSION, False), (SCHEMA_VERSION + 1, True)):
        with closing(sqlite3.connect(the_file(store))) as connection, connection:
            connection.execute(f"PRAGMA user_version={version}")
        if refused:
            with pytest.raises(DamagedError, match="schema version 2, of a newer release"):
                compact(store, MODEL, SETTINGS, now=LATER)
        else:
            assert compact(store, MODEL, SETTINGS, now=LATER).dataset


def test_a_dataset_is_verified_as_it_is_read(tmp_path: Path) -> None:
    """A damaged or missing part, and an invalid manifest or one of a newer release."""
    store = store_with(tmp_path, ("a", 2, "terminated"))
    made = compact(store, MODEL, SETTINGS, now=LATER).dataset
    assert made is not None
    folder = datasets.folder_of(store, MODEL) / "1"
    part, manifest = folder / "part-00001.npz", folder / "manifest.json"
    whole, described = part.read_bytes(), manifest.read_bytes()
    part.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DamagedError, match="SHA-256 differs"):
        list(datasets.episodes(store, made))
    part.unlink()
    with pytest.raises(DamagedError, match="is gone"):
        list(datasets.episodes(store, made))
    assert [bool(finding["error"]) for finding in inspection.check(store, MODEL)] == [True]
    for text, message in (
        (b"{}", "not the manifest"),
        (described.replace(b'"schema_version": 1', b'"schema_version": 2'), "newer"),
    ):
        manifest.write_bytes(text)
        with pytest.raises(DamagedError, match=message):
            datasets.manifest(store, MODEL, 1)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (MODEL, "has no dataset .* yet. Make one: dqn-experience compact cartpole"),
        (f"{MODEL}@latest", "yet"),
        (f"{MODEL}@3", "names no dataset"),
        (f"{MODEL}@x", "names no dataset"),
    ],
)
def test_a_missing_dataset_is_named(tmp_path: Path, reference: str, message: str) -> None:
    """Along with those that exist."""
    with pytest.raises(ExperienceError, match=message):
        datasets.resolve(tmp_path, reference)
