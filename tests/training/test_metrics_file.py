"""metrics.csv: complete up to the last row, whatever happened to the process or the disk before."""

import resource
from pathlib import Path

import pytest

from dqn_training.tracking.metrics_csv import SCALARS, MetricsFile, Row, read_metrics


def row(env_steps: int, evaluations: int = 0, loss: float | None = 0.1) -> Row:
    """A row with some numbers; the others are missing."""
    return dict.fromkeys(SCALARS) | {"env_steps": env_steps, "evaluations": evaluations, "loss": loss}


def write(path: Path, *rows: Row) -> bytes:
    """Writes a new file and returns its bytes."""
    file = MetricsFile(path)
    assert file.begin(1, 0) is None
    for each in rows:
        file.append(each)
    file.close()
    return path.read_bytes()


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Numbers keep every digit; a missing one is NaN."""
    write(tmp_path / "m.csv", row(10, loss=1 / 3), row(20, loss=None))
    metrics = read_metrics(tmp_path / "m.csv")
    assert list(metrics) == list(SCALARS)
    assert metrics["env_steps"].tolist() == [10, 20]
    assert metrics["loss"][0] == 1 / 3
    assert metrics["loss"][1] != metrics["loss"][1]


@pytest.mark.parametrize("torn", [b"", b"3", b"30,", b"30,0\n"])
def test_a_resumed_run_continues_as_if_never_interrupted(tmp_path: Path, torn: bytes) -> None:
    """Rows after the checkpoint are dropped, including a torn last one, and the rest keeps its bytes."""
    whole = write(tmp_path / "whole.csv", row(10), row(20), row(20, 1), row(30, 1))
    path = tmp_path / "m.csv"
    write(path, row(10), row(20), row(20, 1, loss=9.0))
    path.write_bytes(path.read_bytes() + torn)
    file = MetricsFile(path)
    assert file.begin(20, 0) == row(20)
    file.append(row(20, 1))
    file.append(row(30, 1))
    file.close()
    assert path.read_bytes() == whole


def test_a_full_disk_costs_no_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While the disk is full there is a single warning; the rows are written once there is space again."""
    whole = write(tmp_path / "whole.csv", row(10), row(20), row(30))
    file = MetricsFile(tmp_path / "m.csv")
    file.begin(1, 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "m.csv").stat().st_size + 5, hard))
    try:
        file.append(row(10))
        file.append(row(20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    file.append(row(30))
    file.close()
    assert capsys.readouterr().err.count("m.csv cannot be written") == 1
    assert (tmp_path / "m.csv").read_bytes() == whole


def test_a_file_that_cannot_be_created_costs_no_row_either(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the file cannot be replaced at first, the rows from before and since are written once it can."""
    whole = write(tmp_path / "whole.csv", row(10), row(20), row(30))
    path = tmp_path / "m.csv"
    write(path, row(10))
    file = MetricsFile(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, hard))
    try:
        assert file.begin(15, 0) == row(10)
        file.append(row(20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    file.append(row(30))
    file.close()
    assert path.read_bytes() == whole
    assert "m.csv cannot be written: File too large. Training continues." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "sentence"), [(None, "There is no"), (b"", "has no rows yet"), (b"\xff\xfe", "is not a metrics file")]
)
def test_what_is_not_a_metrics_file_is_reported(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    """The sentence names the file."""
    path = tmp_path / "m.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_metrics(path)
    assert str(path) in str(caught.value)
