"""Several writers at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from dqn_models.errors import PromotionError
from dqn_models.inspection import check
from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_linear
from tests.models.publisher import MODEL

PUBLISHERS = 4
VERSIONS_EACH = 10

WRITER = """
import sys
from dqn_models.repository import ModelRepository
from tests.models.publisher import publish
repository = ModelRepository(sys.argv[1])
sys.stdin.readline()  # all start together
for _ in range(int(sys.argv[2])):
    repository.promote("cartpole", publish(repository))
"""


@pytest.mark.slow
def test_publishers_at_once_get_numbers_of_their_own_and_lose_nothing(tmp_path: Path) -> None:
    """Four processes that publish and promote at once keep all their versions, each with its own number."""
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(VERSIONS_EACH)]
    pipe = subprocess.PIPE
    writers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(PUBLISHERS)]
    for writer in writers:
        assert writer.stdin
        writer.stdin.write("go\n")
        writer.stdin.flush()
    reports = [writer.communicate(timeout=60)[0].split() for writer in writers]
    numbers = [int(word) for words in reports for word in words if word.isdigit()]
    repository = ModelRepository(tmp_path)
    assert sorted(numbers) == repository.versions(MODEL) == list(range(1, PUBLISHERS * VERSIONS_EACH + 1))
    assert all(finding["ok"] for finding in check(repository, MODEL))
    promotions = [event for event in repository.history(MODEL) if event["event"] == "promote"]
    assert promotions[-1]["version"] == repository.alias(MODEL)
    assert [event["previous"] for event in promotions[1:]] == [event["version"] for event in promotions[:-1]]


def test_a_promotion_that_comes_too_late_is_refused(tmp_path: Path) -> None:
    """A gate that compared with a champion that has since been replaced does not replace the new one."""
    repository = ModelRepository(tmp_path)
    judged_against, meanwhile, late = (publish_linear(repository).version for _ in range(3))
    repository.promote(MODEL, meanwhile)
    with pytest.raises(PromotionError, match="champion of cartpole is now version 2, not 1; version 3 was not"):
        repository.promote(MODEL, late, replacing=judged_against)
    assert repository.alias(MODEL) == meanwhile
    assert repository.promote(MODEL, late, replacing=meanwhile) == meanwhile
