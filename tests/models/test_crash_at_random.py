"""Kills publishers at random instants."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from dqn_models.inspection import check
from dqn_models.repository import ModelRepository
from tests.models.crashes import assert_sound, publisher
from tests.models.publisher import MODEL


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "kills"), [(0, 20), *(pytest.param(seed, 200, marks=pytest.mark.long) for seed in range(1, 6))]
)
def test_a_publisher_killed_at_random_instants_damages_and_loses_nothing(tmp_path: Path, seed: int, kills: int) -> None:
    """After every SIGKILL the repository lists, verifies and serves, and has all versions that were reported."""
    repository, chance = ModelRepository(tmp_path), random.Random(seed)
    published: set[int] = set()
    verified: set[int] = set()
    with publisher(tmp_path) as child:
        for _ in range(kills):
            pid, begin, wanted = child.start("forever"), time.monotonic(), chance.randint(1, 4)
            reports = child.reports()
            seen = [next(reports) for _ in range(wanted)]
            between = (time.monotonic() - begin) / wanted
            time.sleep(chance.uniform(0, between))  # somewhere before the next report
            os.kill(pid, signal.SIGKILL)
            seen += reports
            assert seen.pop() == ["ended", str(-signal.SIGKILL)]
            new = [int(number) for word, number in seen if word == "published"]
            assert not published & set(new), "a version number was used twice"
            published.update(new)
            assert_sound(repository, published, verified)
    assert all(finding["ok"] for finding in check(repository, MODEL))
    pruned = repository.prune(MODEL, keep=5)
    print(f"{kills} kills, {len(published)} versions reported, {len(verified)} found, {len(pruned.garbage)} cut off")
    assert pruned.garbage, "no kill fell into a publish"
    assert not repository.prune(MODEL, keep=5).garbage
    assert_sound(repository, published - set(pruned.versions), verified)
