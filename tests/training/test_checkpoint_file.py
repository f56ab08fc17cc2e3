"""The checkpoint on disk: what was captured comes back, at any instant, or is refused with a sentence."""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dqn_testing.disks import fill, small_file_system
from dqn_training.checkpoint.store import CheckpointError, CheckpointFile
from dqn_training.checkpoint.values import Ring

ROWS, WIDTH = 300, 5_000  # rows of 40 kB: large enough for blocks


def read(path: Path) -> Any:
    """What a new process would read."""
    return CheckpointFile(path).read()


def test_every_kind_of_value_comes_back(tmp_path: Path) -> None:
    """Numbers keep their type and every bit, arrays their dtype and order, tensors their values."""
    value = {
        "numbers": [True, 2**127, 0.1, -0.0, float("inf"), None, "ü", np.float32(0.1), np.int8(-3)],
        "arrays": {"file": np.asfortranarray(np.eye(3)), "texts": np.array(["a", "bc"]), "none": np.zeros((0, 2))},
        "tensor": torch.arange(6, dtype=torch.float64).reshape(2, 3),
    }
    file = CheckpointFile(tmp_path / "checkpoint")
    file.write(value)
    file.settle()
    found = read(file.path)
    assert repr(found["numbers"]) == repr(value["numbers"])
    for name, array in value["arrays"].items():  # type: ignore[attr-defined]
        np.testing.assert_array_equal(found["arrays"][name], array)
        assert found["arrays"][name].dtype == array.dtype
    assert found["arrays"]["file"].flags.f_contiguous
    assert torch.equal(found["tensor"], value["tensor"])  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [object(), {1: 2}, np.array([None])], ids=["object", "keys", "objects"])
def test_what_is_not_a_plain_value_is_refused(tmp_path: Path, value: object) -> None:
    """Nothing is ever pickled: an object, and an array of objects, raise TypeError with their path."""
    with pytest.raises(TypeError, match=r"cannot store run\.agent\.x"):
        CheckpointFile(tmp_path / "checkpoint").write({"agent": {"x": value}})


@pytest.mark.parametrize("seed", range(3))
def test_a_ring_comes_back_whatever_was_written_between(tmp_path: Path, seed: int) -> None:
    """After any number of new rows, even wrapping around many times, the file has exactly the current array."""
    generator = random.Random(seed)
    file = CheckpointFile(tmp_path / "checkpoint")
    array, written, mutable_tail = np.zeros((ROWS, WIDTH)), 0, 7
    for _ in range(12):
        for _ in range(generator.choice([0, 1, 30, 104, 299, 300, 700])):
            array[written % ROWS] = generator.random()
            written += 1
        for row in range(max(0, written - mutable_tail), written):
            array[row % ROWS] += 1
        file.write({"replay": {"ring": Ring(array, written, mutable_tail), "written": written}})
        if generator.random() < 0.3:  # the process ends; another continues
            file.settle()
            file = CheckpointFile(file.path)
            assert file.read() is not None
    file.settle()
    found = read(file.path)["replay"]
    np.testing.assert_array_equal(found["ring"], array)
    assert found["written"] == written


def test_only_new_rows_are_written(tmp_path: Path) -> None:
    """A few new rows in a ring change one file, and nothing of the previous one is left."""
    file = CheckpointFile(tmp_path / "checkpoint")
    array = np.random.default_rng(0).random((ROWS, WIDTH))
    folder = tmp_path / "checkpoint-blocks"
    file.write({"ring": Ring(array, ROWS, 3)})
    file.settle()
    before = set(folder.iterdir())
    file.write({"ring": Ring(array, ROWS + 5, 3)})
    file.settle()
    after = set(folder.iterdir())
    assert len(after) == len(before)
    assert len(after - before) == 2  # the block with the first rows, and the one with the last three


def test_a_kill_at_any_instant_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """A process that writes checkpoint after checkpoint is killed 15 times; what is left is from a single moment."""
    generator = random.Random(0)
    path = tmp_path / "checkpoint"
    latest = 0
    for _ in range(15):
        child = os.fork()
        if child == 0:
            _write_forever(path)
        time.sleep(generator.uniform(0.02, 0.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = read(path)
        if found is None:
            continue
        moment = found["moment"]
        assert moment >= latest
        latest = moment
        np.testing.assert_array_equal(found["ring"], _ring(moment).array)
    assert latest, "no process lived to write a checkpoint"
    file = CheckpointFile(path)
    file.read()
    file.write({"moment": latest + 1, "ring": _ring(latest + 1)})
    file.settle()
    assert _litter(path) == 0, "the next checkpoint removes what kills left"


def _litter(path: Path) -> int:
    """The number of files besides the checkpoint and the single block of its ring."""
    files = [each for each in path.parent.rglob("*") if each.is_file()]
    return len(files) - 2


def _write_forever(path: Path) -> None:
    """Continues from the last moment, one for each checkpoint, until killed."""
    try:
        file = CheckpointFile(path)
        moment = (file.read() or {"moment": 0})["moment"]
        while True:
            moment += 1
            file.write({"moment": moment, "ring": _ring(moment)})
    finally:
        os._exit(1)


def _ring(moment: int) -> Ring:
    """At each moment 40 more rows have been written, each with the number of its writing."""
    written = 40 * moment
    array = np.zeros((ROWS, 1_000))
    numbers = np.arange(max(0, written - ROWS), written)
    array[numbers % ROWS] = numbers[:, np.newaxis]
    return Ring(array, written, 0)


@pytest.mark.parametrize("damage", ["cut", "empty", "flip", "block flipped", "block cut", "block gone"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: str) -> None:
    """A cut or empty file, a flipped bit in it or in a block, a block that is gone: a sentence, never wrong data."""
    file = CheckpointFile(tmp_path / "checkpoint")
    file.write({"ring": Ring(np.ones((ROWS, WIDTH)), ROWS, 0), "values": np.arange(1000)})
    file.settle()
    block = min((tmp_path / "checkpoint-blocks").iterdir())
    victim = block if damage.startswith("block") else file.path
    data = bytearray(victim.read_bytes())
    if damage == "block gone":
        victim.unlink()
    elif "flip" in damage:
        data[random.Random(1).randrange(len(data))] ^= 16
        victim.write_bytes(data)
    else:
        victim.write_bytes(data[: 0 if damage == "empty" else len(data) // 2])
    with pytest.raises(CheckpointError, match=r"checkpoint is damaged: .* from the beginning"):
        read(file.path)


def test_a_checkpoint_of_another_release_is_refused(tmp_path: Path) -> None:
    """Formats have numbers, so that the error is not reported as damage to the disk."""
    path = tmp_path / "checkpoint"
    path.write_bytes(b"dqn-checkpoint-1 " + b"0" * 64 + b"\n")
    with pytest.raises(CheckpointError, match="this release does not know its format"):
        read(path)


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    """Whatever space is left, a write either succeeds or raises OSError and leaves the last one and no litter."""
    with small_file_system(tmp_path / "disk", 6_000) as disk:
        file = CheckpointFile(disk / "checkpoint")
        file.write({"moment": 1, "ring": Ring(np.full((ROWS, WIDTH), 1.0), ROWS, 0)})
        file.settle()
        litter = {*disk.rglob("*")}
        for free_pages in (0, 5, 1_500, 2_900):
            fill(disk, free_pages)
            with pytest.raises(OSError, match="No space left"):
                write_all(file, 2)
            (disk / "filler").unlink()
            assert {*disk.rglob("*")} == litter
            found = read(file.path)
            assert found["moment"] == 1
            assert (found["ring"] == 1).all()
        write_all(file, 2)
        assert (read(file.path)["ring"] == 2).all()


def write_all(file: CheckpointFile, moment: int) -> None:
    """A checkpoint in which every row is new."""
    file.write({"moment": moment, "ring": Ring(np.full((ROWS, WIDTH), float(moment)), 2 * ROWS, 0)})
    file.settle()
