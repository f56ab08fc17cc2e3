"""The history of a model."""

from pathlib import Path
from typing import Any, cast

import pytest

from dqn_models import history
from dqn_models.errors import PromotionError
from dqn_models.history import Event
from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_linear


def promotions(*steps: str) -> list[Event]:
    """Events from short texts such as "promote 3" and "rollback 2"."""
    words = map(str.split, steps)
    return [Event(event=cast("Any", event), alias="champion", version=int(version)) for event, version in words]


@pytest.mark.parametrize(
    ("steps", "current", "previous"),
    [
        ([], 1, None),
        (["promote 1"], 1, None),
        (["promote 1", "promote 2"], 2, 1),
        (["promote 1", "promote 2", "promote 3", "rollback 2"], 2, 1),
        (["promote 1", "promote 2", "promote 3", "rollback 2", "rollback 1"], 1, None),
        (["promote 1", "promote 2", "rollback 1", "promote 3"], 3, 1),
        (["promote 1", "promote 2", "promote 1"], 1, 2),
        (["promote 1", "promote 2", "promote 2"], 2, 1),
        (["promote 1", "promote 2", "promote 3"], 2, 1),  # a crash prevented the last one
        (["promote 1", "promote 2"], 9, 2),  # somebody edited the alias by hand
    ],
)
def test_the_version_before(steps: list[str], current: int, previous: int | None) -> None:
    """Promotions are a stack: rolling back twice goes back two promotions, not back and forth."""
    assert history.previous_version(promotions(*steps), "champion", current) == previous


def test_another_alias_has_its_own_past() -> None:
    """Promotions of one alias say nothing about another."""
    events = [*promotions("promote 1", "promote 2"), Event(event="promote", alias="challenger", version=5)]
    assert history.previous_version(events, "champion", 2) == 1
    assert history.previous_version(events, "challenger", 5) is None


def test_every_change_is_recorded_with_who_when_and_why(tmp_path: Path) -> None:
    """Publish, promote, rollback and prune each append one event with its details, oldest first."""
    repository = ModelRepository(tmp_path)
    first, second = (publish_linear(repository).version for _ in range(2))
    repository.promote("cartpole", first, by="ada", reason="first")
    repository.promote("cartpole", second, reason="better ☺")
    repository.rollback("cartpole", by="ada", reason="worse")
    for _ in range(3):
        publish_linear(repository)
    repository.prune("cartpole", keep=1)
    events = repository.history("cartpole")
    told = ["publish"] * 2 + ["promote"] * 2 + ["rollback"] + ["publish"] * 3 + ["prune"]
    assert [event["event"] for event in events] == told
    assert all(event["at"].endswith("Z") and event["by"] for event in events)
    assert {"by": "ada", "reason": "first", "alias": "champion", "version": 1, "previous": None}.items() <= events[
        2
    ].items()
    assert events[3]["reason"] == "better ☺"
    assert {"version": 1, "previous": 2}.items() <= events[4].items()
    assert events[8]["versions"] == [2, 3, 4]


def test_a_torn_line_is_left_out_and_closed(tmp_path: Path) -> None:
    """A line cut short by a power failure is not an event, and does not swallow the next one."""
    repository = ModelRepository(tmp_path)
    publish_linear(repository)
    with (tmp_path / "cartpole/history.jsonl").open("ab") as log:
        log.write(b'{"at": "2026-01-01T00:00:00Z", "event": "pro')
    assert len(repository.history("cartpole")) == 1
    publish_linear(repository)
    assert [event["version"] for event in repository.history("cartpole")] == [1, 2]


def test_numbers_are_not_reused_after_a_prune(tmp_path: Path) -> None:
    """A pruned version's number is never given again, even if it was the highest."""
    repository = ModelRepository(tmp_path)
    publish_linear(repository)
    (tmp_path / "cartpole/2").mkdir()
    assert repository.prune("cartpole") == ([], [2])
    assert publish_linear(repository).version == 3


def test_without_a_past_there_is_no_rollback(tmp_path: Path) -> None:
    """Rolling back the first champion is refused, with the alternative."""
    repository = ModelRepository(tmp_path)
    publish_linear(repository, promote=True)
    with pytest.raises(PromotionError, match=r"No version of .* was champion before 1; promote one instead"):
        repository.rollback("cartpole")


def test_a_user_without_a_name_is_known_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the user id may have no name; the history then has the number."""

    def nobody() -> str:
        raise KeyError("no such user")

    monkeypatch.setattr("getpass.getuser", nobody)
    user, _, host = history.who().partition("@")
    assert user.isdigit()
    assert host
