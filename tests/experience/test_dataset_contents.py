"""What a dataset has of its episodes: observations and actions of every kind, sources, its audit and its histograms."""

from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest
from pyarrow import parquet

from dqn_experience import datasets
from dqn_experience.compaction.compact import compact
from dqn_experience.datasets import Audit
from dqn_experience.errors import RecordError
from dqn_experience.exploration import episode_key, explore_branches
from dqn_experience.export import write_parquet
from dqn_experience.recording.writer import ExperienceWriter
from dqn_experience.records import Outcome, RecordedEpisode
from dqn_testing.experience import (
    MODEL,
    SETTINGS,
    Clock,
    Player,
    behavior,
    episodes,
    made,
    observation,
    q_values,
)


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
