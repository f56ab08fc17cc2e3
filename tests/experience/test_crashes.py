"""Kills of processes that record or compact."""

import os
import random
import shutil
import signal
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from dqn_experience import datasets, inspection
from dqn_experience.compaction.compact import compact
from dqn_experience.log.reading import read_log
from dqn_testing.crashing import Parent, parent
from dqn_testing.experience import MODEL, store_with
from tests.experience.recorder import SETTINGS

ROOT = Path(__file__).parents[2]


def recorder(store: Path) -> AbstractContextManager[Parent]:
    """Runs `recorder.py` on a store."""
    return parent("tests.experience.recorder", store, ROOT)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "kills"), [(0, 15), pytest.param(1, 200, marks=pytest.mark.long)])
def test_a_killed_recorder_loses_no_acknowledged_outcome(tmp_path: Path, seed: int, kills: int) -> None:
    """After every SIGKILL all files can be read, and every acknowledged episode ends up complete in the datasets."""
    chance = random.Random(seed)
    acknowledged: dict[str, int] = {}
    with recorder(tmp_path) as child:
        for kill in range(kills):
            pid, wanted = child.start("record"), chance.randint(1, 6)
            begun, reports = time.monotonic(), child.reports()
            seen = [next(reports) for _ in range(wanted)]
            time.sleep(chance.uniform(0, (time.monotonic() - begun) / wanted))  # somewhere before the next
            os.kill(pid, signal.SIGKILL)
            seen += reports
            assert seen.pop() == ["ended", str(-signal.SIGKILL)]
            acknowledged |= {name: int(steps) for _, name, steps in seen}
            if kill % 5 == 4:
                log = read_log(tmp_path, MODEL)
                assert not any(source.error or source.damaged_rows for source in log.sources)
                assert set(acknowledged) <= set(log.names)
    assert compact(tmp_path, MODEL, SETTINGS, now=time.time_ns() // 1_000_000 + 1000).dataset
    found = {
        episode.name: len(episode.actions)
        for number in datasets.numbers(tmp_path, MODEL)
        for episode in datasets.episodes(tmp_path, datasets.manifest(tmp_path, MODEL, number))
        if episode.terminated
    }
    assert found.items() >= acknowledged.items()
    assert all(result["error"] == "" for result in inspection.check(tmp_path))
    assert {path.suffix for path in (tmp_path / "log").iterdir()} == {".sqlite"}


@pytest.mark.slow
@pytest.mark.parametrize("step", [37, pytest.param(1, marks=pytest.mark.long)])
def test_a_compaction_killed_at_any_line_leaves_no_half_dataset(tmp_path: Path, step: int) -> None:
    """Whatever it left, the next one makes the same dataset, which has every episode once."""
    store, names = tmp_path / "store", {f"e{number}" for number in range(4)}
    store_with(store, *((name, 3, "terminated") for name in sorted(names)))
    live = next((store / "log").iterdir())
    live.rename(live.with_suffix(".live"))  # as a killed recorder leaves it
    copy = shutil.copytree(store, tmp_path / "copy")
    with recorder(store) as child:
        for line in range(1, 10**6, step):
            child.start(f"compact {line}")
            *done, ended = child.reports()
            made = datasets.numbers(store, MODEL)
            assert len(made) <= 1
            assert all(result["error"] == "" for result in inspection.check(store))
            if not made:
                child.start("compact")
                assert [word for word, _ in child.reports()] == ["released", "ended"]
            described = datasets.manifest(store, MODEL, datasets.numbers(store, MODEL)[-1])
            assert {episode.name for episode in datasets.episodes(store, described)} == names
            datasets.prune(store, MODEL, 1, dry_run=False)
            if ended == ["ended", "0"]:
                assert done
                break
            shutil.rmtree(store)
            shutil.copytree(copy, store)
    assert line > 100
