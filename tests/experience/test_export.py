"""Datasets that other tools read."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dqn_experience import datasets
from dqn_experience.compaction.compact import compact
from dqn_experience.recording.writer import ExperienceWriter
from dqn_experience.records import RecordedEpisode
from dqn_testing.commands import result, run
from dqn_testing.experience import MODEL, behavior, store_with

ROWS = {
    "plain": np.dtype(("<f4", (4,))),
    "pixels": np.dtype(("u1", (6, 5, 3))),
    "number": np.dtype("<i8"),
    "parts": np.dtype([("image", "u1", (2, 2)), ("speed", "<f4")], align=True),
}


def made(store: Path, row: np.dtype[Any]) -> list[datasets.Episode]:
    """A store with a dataset of a terminated, a truncated and an abandoned episode."""
    generator = np.random.default_rng(0)
    with closing(ExperienceWriter(store)) as writer:
        for name, steps, end in (("a", 3, "terminated"), ("b", 2, "truncated"), ("c", 4, "")):
            seen = np.zeros(steps + 1, row)
            for field in row.names or ():
                seen[field] = generator.integers(0, 100, seen[field].shape)
            if not row.names:
                seen = generator.integers(0, 100, seen.shape).astype(row.base)
            recorded = RecordedEpisode(name, seen.tobytes(), [1] * steps, [0.5] * steps, [0.25] * steps, end)  # type: ignore[arg-type]  # one of three
            writer.record(behavior(0, row=row), recorded).result(10)
    described = compact(store, MODEL, now=2_500_000_000_000).dataset
    assert described is not None
    return list(datasets.episodes(store, described))


@pytest.mark.parametrize("kind", ROWS)
def test_parquet_has_a_row_a_step_and_one_for_the_end(tmp_path: Path, kind: str) -> None:
    """With null where there is no action, and every number as it was."""
    from pyarrow import parquet

    expected = made(tmp_path, ROWS[kind])
    path = tmp_path / "out.parquet"
    words = ("export", MODEL, "--to", "parquet", "--output", path, "--store", tmp_path)
    assert result("dqn-experience", *words) == {"model": MODEL, "dataset": 1, "output": str(path), "rows": 12}
    table = parquet.read_table(path).to_pydict()
    assert table["episode"] == ["a"] * 4 + ["b"] * 3 + ["c"] * 5
    assert table["step"] == [*range(4), *range(3), *range(5)]
    assert [row for row, action in enumerate(table["action"]) if action is None] == [3, 6, 11]
    assert [row for row, flag in enumerate(table["terminated"]) if flag] == [2]
    assert [row for row, flag in enumerate(table["truncated"]) if flag] == [5]
    assert set(table["reward"]) == {0.5, None}
    observations = np.concatenate([episode.observations for episode in expected])
    if kind == "parts":
        assert (np.array(table["observation.speed"], np.float32) == observations["speed"]).all()
        assert (np.array(table["observation.image"]).reshape(-1, 2, 2) == observations["image"]).all()
    else:
        assert (np.array(table["observation"]).reshape(observations.shape) == observations).all()
    assert [file.name for file in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.filterwarnings("ignore")  # Minari's own, about metadata that it would like to have
def test_minari_loads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Episodes, ends and observations; an abandoned one counts as truncated."""
    import minari

    expected = made(tmp_path, ROWS[kind])
    folder = tmp_path / "minari"
    words = ("export", MODEL, "--to", "minari", "--output", folder, "--store", tmp_path)
    name = result("dqn-experience", *words)["minari"]
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    loaded = minari.load_dataset(name)
    assert (loaded.total_episodes, loaded.total_steps) == (3, 9)
    for found, episode in zip(loaded.iterate_episodes(), expected, strict=True):
        assert found.terminations.tolist() == [False] * (len(episode.actions) - 1) + [episode.terminated]
        assert found.truncations.tolist() == [False] * (len(episode.actions) - 1) + [not episode.terminated]
        assert found.actions.tolist() == episode.executed.tolist()
        assert found.rewards.tolist() == episode.rewards.tolist()
        assert found.infos["propensity"][:-1, 0].tolist() == episode.propensities.tolist()
        for field in episode.observations.dtype.names or ():
            assert (found.observations[field] == episode.observations[field]).all()
        if not episode.observations.dtype.names:
            assert (found.observations == episode.observations).all()


def test_an_export_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    """No dataset, no such form, no folder."""
    store_with(tmp_path, ("a", 2, "terminated"))
    for words, status in ((["--to", "parquet", "--output", tmp_path / "x"], 1), (["--to", "csv", "--output", "x"], 2)):
        done = run("dqn-experience", "export", MODEL, *words, "--store", tmp_path)
        assert (done.returncode, "Traceback" in done.stderr) == (status, False)
