"""Decisions and outcomes become episodes, and episodes datasets."""

from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from pyarrow import parquet

from dqn_experience import datasets
from dqn_experience.compaction import Compacted, compact
from dqn_experience.datasets import Audit, Episode
from dqn_experience.episode_table import JoinSettings
from dqn_experience.errors import RecordError
from dqn_experience.exploration import episode_key, explore_branches
from dqn_experience.export import write_parquet
from dqn_experience.records import Outcome, RecordedEpisode
from dqn_experience.writer import ExperienceWriter
from dqn_testing.experience import MODEL, Player, behavior, observation, q_values, store_with

SETTINGS = JoinSettings(idle_seconds=60, reward_wait_seconds=600)


class Clock:
    """A clock that a test sets, in ms."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replaces the clock of the code under test."""
        self.now = 1_800_000_000_000
        monkeypatch.setattr("dqn_experience.writer.time.time_ns", lambda: self.now * 1_000_000)

    def pass_(self, seconds: float) -> None:
        """Advances the clock."""
        self.now += round(seconds * 1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock under the test's control."""
    return Clock(monkeypatch)


@pytest.fixture
def player(tmp_path: Path, clock: Clock) -> Any:  # noqa: ARG001  (the time must be set first)
    """The recorded player."""
    with closing(ExperienceWriter(tmp_path)) as writer:
        yield Player(writer)


def flush(player: Player) -> None:
    """Waits until everything is written."""
    player.writer.report("flush", [Outcome("flush", 0, 0.0)]).result(10)


def made(store: Path, now: int, **changes: Any) -> Compacted:
    """The datasets that a compaction makes."""
    return compact(store, MODEL, SETTINGS, now=now, **changes)


def episodes(store: Path, result: Compacted) -> dict[str, Episode]:
    """The episodes of the dataset, by name."""
    assert result.dataset is not None
    return {episode.name: episode for episode in datasets.episodes(store, result.dataset)}


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


def test_the_audit_finds_every_wrong_propensity(tmp_path: Path, clock: Clock) -> None:
    """Greedy and exploring actions, with and without masks, are recomputed; a forged one is found in its episode."""
    with closing(ExperienceWriter(tmp_path)) as writer:
        player = Player(writer, epsilon=0.5)
        for number in range(30):
            player.play(f"e{number}", 10)
        seen = observation("masked", 0)[None]
        writer.append(player.behavior, ["masked"], [0], seen, [1], [1.0], [0.5], np.array([[False, True]]))
        writer.report(MODEL, [Outcome("masked", 0, 1.0, "terminated")])
        writer.append(player.behavior, ["forged"], [0], seen, [0], [0.5], [0.5])
        writer.report(MODEL, [Outcome("forged", 0, 1.0, "terminated")]).result(10)
    clock.pass_(100)
    result = made(tmp_path, clock.now, q_values=q_values)
    assert result.dataset is not None
    assert result.dataset.audit == Audit(checked=302, wrong=1, ties=0, skipped=0)
    (part,) = datasets.parts(tmp_path, result.dataset)
    assert [name for name, wrong in zip(part["names"].tolist(), part["wrong"], strict=True) if wrong] == [b"forged"]
    gone = made(tmp_path, clock.now + 1)
    assert gone.dataset is None


def test_whole_episodes_from_elsewhere_are_in_the_dataset(tmp_path: Path, player: Player, clock: Clock) -> None:
    """With unknown propensities, if they are not known, and without an audit."""
    seen = np.arange(12, dtype=np.float32).reshape(3, 4)
    for name, propensities in (("plc", None), ("person", [0.5, 0.25])):
        recorded = RecordedEpisode(name, seen.tobytes(), [1, 0], [1.0, 2.0], propensities, "truncated")
        player.writer.record(behavior(0), recorded).result(10)
    player.play("own", 2)
    clock.pass_(100)
    result = made(tmp_path, clock.now, q_values=q_values)
    found = episodes(tmp_path, result)
    assert (found["plc"].observations == seen).all()
    assert np.isnan(found["plc"].propensities).all()
    assert found["person"].propensities.tolist() == [0.5, 0.25]
    assert (found["plc"].truncated, found["plc"].versions.tolist()) == (True, [0, 0])
    assert result.dataset is not None
    assert (result.dataset.imported, result.dataset.audit) == (2, Audit(2, 0, 0, 4))


def test_an_executed_action_is_kept_with_the_decided_one(tmp_path: Path, player: Player, clock: Clock) -> None:
    """If an outcome says that a different action was executed."""
    first = player.decide("e", 0)
    player.decide("e", 1)
    player.writer.report(MODEL, [Outcome("e", 0, 1.0, executed=1 - first), Outcome("e", 1, 1.0, "terminated")]).result(
        10
    )
    episode = episodes(tmp_path, made(tmp_path, clock.now + 100_000))["e"]
    assert episode.actions[0] == first
    assert episode.executed.tolist() == [1 - first, episode.actions[1]]


def test_observations_of_several_parts_and_pixels_come_back(tmp_path: Path, clock: Clock) -> None:
    """Structured rows with their fields, and rows of any shape."""
    rows = [
        np.dtype([("image", "u1", (2, 2)), ("speed", "<f4")], align=True),
        np.dtype(("u1", (3, 5, 2))),
        np.dtype("<i8"),
    ]
    generator = np.random.default_rng(0)
    for number, row in enumerate(rows):
        model = f"m{number}"
        made_by = behavior(1, model=model, row=row)
        data = generator.integers(0, 100, (4, row.itemsize), np.uint8)
        if row.names:
            data[:, 4:] = np.zeros((4, 4), np.uint8)
        seen = np.frombuffer(data.tobytes(), row)
        with closing(ExperienceWriter(tmp_path)) as writer:
            for step in range(3):
                writer.append(made_by, ["e"], [step], seen[step : step + 1], [0], [1.0], [0.0])
            ends = [Outcome("e", step, 0.0) for step in range(2)]
            writer.report(model, [*ends, Outcome("e", 2, 0.0, "truncated", seen[3].tobytes())]).result(10)
        result = compact(tmp_path, model, SETTINGS, now=clock.now + 100_000)
        (episode,) = episodes(tmp_path, result).values()
        assert episode.observations.dtype == row.base
        assert (episode.observations == seen).all()


def test_drift_bins_are_those_of_the_previous_dataset(tmp_path: Path, player: Player, clock: Clock) -> None:
    """One step of each episode is counted."""
    for round_ in range(2):
        for number in range(50):
            player.play(f"{round_}-{number}", 5)
        clock.pass_(100)
        made(tmp_path, clock.now)
    before, after = (datasets.manifest(tmp_path, MODEL, number).drift for number in (1, 2))
    assert [sum(feature.counts) for feature in (*before, *after)] == [50] * 8
    assert [feature.edges for feature in after] == [feature.edges for feature in before]


def test_episodes_of_several_versions_are_marked(tmp_path: Path, player: Player, clock: Clock) -> None:
    """They can be learned from, but evaluate no version."""
    player.decide("mixed", 0)
    player.behavior = behavior(2)
    player.decide("mixed", 1)
    player.play("pure", 2)
    player.writer.report(MODEL, [player.outcome("mixed", step, 2) for step in range(2)]).result(10)
    result = made(tmp_path, clock.now + 100_000)
    assert result.dataset is not None
    (part,) = datasets.parts(tmp_path, result.dataset)
    assert dict(zip(part["names"].tolist(), part["mixed"].tolist(), strict=True)) == {b"mixed": True, b"pure": False}
    assert result.dataset.versions == {"1": 1, "2": 3}


def test_an_empty_store_has_nothing_to_release(tmp_path: Path) -> None:
    """Nor has one with only another model's experience."""
    assert compact(tmp_path, MODEL).dataset is None
    store_with(tmp_path, ("a", 2, "terminated"))
    assert compact(tmp_path, "other").dataset is None
    with pytest.raises(ValueError, match="name"):
        compact(tmp_path, "../escape")


def test_actions_that_branch_are_rows_of_indices(tmp_path: Path, clock: Clock) -> None:
    """Explored, masked, executed otherwise, from elsewhere, audited, exported; a version of another space falls out."""
    branches = (3, 4)
    made_by = msgspec.structs.replace(behavior(2, n_actions=7), branches=branches)
    values = np.array([[0.1, 0.3, 0.2, 0.0, 0.5, 0.4, 0.1]], np.float32)
    mask = np.array([[True, False, True, True, False, True, True]])
    with closing(ExperienceWriter(tmp_path)) as writer:
        Player(writer).play("joint", 2)
        for number in range(40):
            name = f"e{number}"
            key = episode_key("salt", MODEL, name)
            for step in range(5):
                masks, greedy = (mask, (2, 2)) if step == 4 else (None, (1, 1))
                action, propensity = explore_branches(
                    key, step, greedy, 0.5, branches, None if masks is None else mask[0]
                )
                seen = observation(name, step)[None]
                writer.append(made_by, [name], [step], seen, [action], [propensity], [0.5], masks)
            outcomes = [Outcome(name, step, 1.0) for step in range(4)]
            last = Outcome(name, 4, 1.0, "terminated", executed=[0, 3])
            writer.report(MODEL, [*outcomes, last]).result(10)
        whole = RecordedEpisode("plc", bytes(48), [[2, 3], [0, 0]], [1.0, 2.0], None, "terminated")
        writer.record(made_by, whole).result(10)
        with pytest.raises(RecordError, match=r"expected an index below \[3, 4\]"):
            writer.record(made_by, RecordedEpisode("bad", bytes(32), [[2, 4]], [1.0]))
        writer.append(made_by, ["bad"], [0], observation("bad", 0)[None], [1], [1.0], [0.5])
    clock.pass_(100)
    result = made(tmp_path, clock.now, q_values=lambda _behavior, rows: np.repeat(values, len(rows), axis=0))
    found = episodes(tmp_path, result)
    assert result.dropped == {"other_spaces": 1}
    assert result.dataset is not None
    assert result.dataset.audit == Audit(200, 0, 0, 2)
    assert result.dataset.branches == branches
    assert found["plc"].actions.tolist() == [[2, 3], [0, 0]]
    assert found["e0"].executed.tolist() == [*found["e0"].actions[:4].tolist(), [0, 3]]
    taken = np.concatenate([episode.actions[:4] for name, episode in found.items() if name != "plc"])
    assert set(map(tuple, taken.tolist())) == {(first, second) for first in range(3) for second in range(4)}
    table = tmp_path / "out.parquet"
    write_parquet(tmp_path, result.dataset, table)
    assert parquet.read_table(table).to_pydict()["executed"][4] == [0, 3]


def test_a_wrong_propensity_of_an_action_that_branches_is_found(tmp_path: Path, clock: Clock) -> None:
    """Greedy in one component alone is not greedy."""
    made_by = msgspec.structs.replace(behavior(2, n_actions=4), branches=(2, 2))
    greedy_propensity = 0.5 / 4 + 0.5
    with closing(ExperienceWriter(tmp_path)) as writer:
        for name, action in (("right", (1, 1)), ("wrong", (1, 0))):
            writer.append(made_by, [name], [0], observation(name, 0)[None], [action], [greedy_propensity], [0.5])
            writer.report(MODEL, [Outcome(name, 0, 1.0, "terminated")]).result(10)
    values = np.array([[0.0, 1.0, 0.0, 1.0]], np.float32)
    result = made(tmp_path, clock.now + 1, q_values=lambda _behavior, rows: np.repeat(values, len(rows), axis=0))
    assert result.dataset is None
    result = made(tmp_path, clock.now + 100_000, q_values=lambda _behavior, rows: np.repeat(values, len(rows), axis=0))
    assert result.dataset is not None
    assert result.dataset.audit == Audit(2, 1, 0, 0)
