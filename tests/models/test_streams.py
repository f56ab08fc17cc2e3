"""Output on a standard stream never stops the work: what cannot be written is lost and counted."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest

from dqn_models.streams import LossyStream


def lossy(stream: TextIO | None) -> tuple[LossyStream, list[int]]:
    """A lossy stream, and the numbers of lines that it loses."""
    lost: list[int] = []
    made = LossyStream(stream)
    made.on_loss = lost.append
    return made, lost


def test_reader_that_goes_and_comes_back(tmp_path: Path) -> None:
    """Lines without a reader are lost and counted; the first one after the reader returns arrives."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with fifo.open("w") as file:
        stream, lost = lossy(file)
        print("one", file=stream)
        assert os.read(reader, 100) == b"one\n"
        os.close(reader)
        stream.write("two\n")
        stream.write("three\nfour\n")
        assert lost == [1, 2]
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        print("five", file=stream, flush=True)
        assert os.read(reader, 100) == b"five\n"
    os.close(reader)
    assert lost == [1, 2]


def test_reader_that_does_not_read() -> None:
    """A full pipe loses lines but does not block; once it is emptied, lines continue, none of them cut or joined."""
    receiving, sending = os.pipe()
    with os.fdopen(receiving, "rb", 0) as reader, os.fdopen(sending, "w") as file:
        stream, lost = lossy(file)
        written = 0
        while not lost:
            stream.write("x" * 3000 + "\n")
            written += 1
        os.set_blocking(receiving, False)
        received = reader.read(1 << 20) or b""
        assert received == (b"x" * 3000 + b"\n") * (written - 1)
        stream.write("after\n")
        assert reader.read(100) == b"after\n"
        assert lost == [1]


def test_full_disk() -> None:
    """Writing to a full disk loses the line."""
    with Path("/dev/full").open("w") as file:
        stream, lost = lossy(file)
        assert stream.write("a\nb\n") == 4
        stream.flush()
    assert lost == [2]


def test_stream_that_was_never_open() -> None:
    """None, Python's substitute for a closed stream, loses everything, and is not a terminal."""
    stream, lost = lossy(None)
    print("a", file=stream, flush=True)
    assert (sum(lost), stream.isatty()) == (1, False)
    with pytest.raises(OSError, match="closed"):
        stream.fileno()


def test_what_cannot_be_encoded_is_escaped(tmp_path: Path) -> None:
    """A path that is not text in the stream's encoding is written with escapes."""
    with (tmp_path / "log").open("w", encoding="ascii") as file:
        LossyStream(file).write("größe \udcff\n")
    assert (tmp_path / "log").read_text() == "gr\\xf6\\xdfe \\udcff\n"


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_commands_run_with_closed_streams(closed: str, tmp_path: Path) -> None:
    """A command whose standard streams are closed does its work."""
    command = Path(sys.executable).with_name("dqn-models")
    shell = ["/bin/sh", "-c", f'exec "$0" "$@" {closed}', str(command), "list", "--repository", str(tmp_path)]
    ended = subprocess.run(shell, check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
