"""Decisions and outcomes become episodes, and episodes datasets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dqn_experience import datasets
from dqn_experience.compaction.compact import compact
from dqn_experience.compaction.episode_table import JoinSettings
from dqn_experience.records import Outcome
from dqn_testing.experience import (
    MODEL,
    Clock,
    Player,
    episodes,
    flush,
    made,
    observation,
    q_values,
    store_with,
)


def test_a_dataset_has_what_happened(tmp_path: Path, player: Player, clock: Clock) -> None:
    """Observations, actions, rewards and ends of each episode; an abandoned one ends with its last observation."""
    player.play("terminated", 5)
    player.play("truncated", 4, "truncated")
    player.play("abandoned", 3, "")
    clock.pass_(61)
    result = made(tmp_path, clock.now)
    found = episodes(tmp_path, result)
    assert set(found) == {"abandoned", "terminated", "truncated"}
    for name, steps in (("terminated", 5), ("truncated", 4), ("abandoned", 2)):
        episode = found[name]
        expected = np.array([observation(name, step) for step in range(steps + 1)])
        assert (episode.observations == expected).all()
        assert episode.rewards.tolist() == list(range(steps))
        assert len(episode.actions) == len(episode.propensities) == steps
        assert (episode.terminated, episode.truncated) == (name == "terminated", name == "truncated")
    assert result.dataset is not None
    assert (result.dataset.episodes, result.dataset.steps) == (3, 11)
    assert result.dataset.ends == {"terminated": 1, "truncated": 1, "abandoned": 1}
    assert result.dataset.returns["max"] == 10.0


def test_early_failures_do_not_come_first(tmp_path: Path, player: Player, clock: Clock) -> None:
    """An open episode holds back those that began after it, however long ago they ended."""
    player.decide("long", 0)
    for number in range(5):
        clock.pass_(1)
        player.play(f"short{number}", 2)
    flush(player)
    clock.pass_(50)
    player.decide("long", 1)
    flush(player)
    clock.pass_(50)
    result = made(tmp_path, clock.now)
    assert (result.dataset, result.open_episodes) == (None, 1)
    player.writer.report(MODEL, [player.outcome("long", step, 2) for step in range(2)]).result(10)
    assert set(episodes(tmp_path, made(tmp_path, clock.now))) == {"long", *(f"short{number}" for number in range(5))}


def test_datasets_follow_each_other_without_gap_or_overlap(tmp_path: Path, player: Player, clock: Clock) -> None:
    """Each episode is in exactly one; compacting again makes none; the same log gives the same parts."""
    seen: list[str] = []
    for number in range(4):
        player.play(f"a{number}", 3)
        clock.pass_(30)
        player.play(f"b{number}", 3)
        clock.pass_(100)
        result = made(tmp_path, clock.now)
        assert result.dataset is not None
        assert result.dataset.dataset == number + 1
        assert made(tmp_path, clock.now).dataset is None
        seen += episodes(tmp_path, result)
    assert seen == [f"{kind}{number}" for number in range(4) for kind in "ab"]


def test_the_same_log_makes_the_same_bytes(tmp_path: Path, player: Player, clock: Clock) -> None:
    """Whenever it is compacted, into one part or several."""
    for number in range(20):
        player.play(f"e{number}", 5)
    clock.pass_(100)
    first = made(tmp_path, clock.now, part_bytes=500).dataset
    assert first is not None
    assert len(first.files) > 3
    (datasets.folder_of(tmp_path, MODEL) / "1/manifest.json").unlink()
    second = made(tmp_path, clock.now + 10**6, part_bytes=500).dataset
    assert second is not None
    assert second.dataset == 2
    assert first.files == second.files


def test_rewards_that_are_missing_are_waited_for(tmp_path: Path, player: Player, clock: Clock) -> None:
    """For the configured time; after that the episode is left out, or gets the default."""
    for step in range(3):
        player.decide("late", step)
    player.writer.report(MODEL, [player.outcome("late", 2, 3), Outcome("late", 0, 5.0)]).result(10)
    clock.pass_(599)
    assert made(tmp_path, clock.now).open_episodes == 1
    clock.pass_(2)
    assert made(tmp_path, clock.now).dropped == {"missing_reward": 1}
    settings = JoinSettings(60, 600, missing_reward=-1.0)
    found = episodes(tmp_path, compact(tmp_path, MODEL, settings, now=clock.now))
    assert found["late"].rewards.tolist() == [5.0, -1.0, 2.0]


@pytest.mark.parametrize(
    ("reason", "decided", "outcomes"),
    [
        ("inactive", [0, 1], []),
        ("gap", [0, 1, 3], [0, 1, 3]),
        ("gap", [2, 3], [2, 3]),
        ("gap", [0, 1], [0, 1, (2, "terminated")]),
        ("contradicted", [0, 1, 2], [0, (1, "terminated"), 2]),
        ("too_short", [0], [0]),
        ("missing_reward", [0, 1, 2], [0]),
    ],
)
def test_what_cannot_be_learned_from_is_left_out_with_its_reason(
    tmp_path: Path, player: Player, clock: Clock, reason: str, decided: list[int], outcomes: list[Any]
) -> None:
    """No other episode is affected."""
    for step in decided:
        player.decide("bad", step)
    for each in outcomes:
        step, end = each if isinstance(each, tuple) else (each, "")
        player.writer.report(MODEL, [Outcome("bad", step, 0.0, end)]).result(10)
    player.play("good", 2)
    clock.pass_(1000)
    result = made(tmp_path, clock.now)
    assert result.dropped == {reason: 1}
    assert set(episodes(tmp_path, result)) == {"good"}


def test_a_repeated_decision_counts_once_and_a_contradiction_drops_its_episode(
    tmp_path: Path, player: Player, clock: Clock
) -> None:
    """A repeated request, and one with another observation or another action."""
    made_by = player.behavior
    for name in ("again", "action", "observation"):
        player.play(name, 3)
        greedy = int(q_values(made_by, observation(name, 1)[None])[0].argmax())
        action = 1 - greedy if name == "action" else greedy
        seen = observation(name, 1 if name != "observation" else 9)[None]
        player.writer.append(made_by, [name], [1], seen, [action], [0.95], [0.1])
    flush(player)
    clock.pass_(100)
    result = made(tmp_path, clock.now)
    assert len(episodes(tmp_path, result)["again"].actions) == 3
    assert set(episodes(tmp_path, result)) == {"again"}
    assert result.dropped == {"contradicted": 2}


def test_an_empty_store_has_nothing_to_release(tmp_path: Path) -> None:
    """Nor has one with only another model's experience."""
    assert compact(tmp_path, MODEL).dataset is None
    store_with(tmp_path, ("a", 2, "terminated"))
    assert compact(tmp_path, "other").dataset is None
    with pytest.raises(ValueError, match="name"):
        compact(tmp_path, "../escape")
