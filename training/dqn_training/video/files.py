"""Films as files: MP4 (H.264, by PyAV) and GIF (by Pillow), written a picture at a time."""

import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from dqn_training.video.frames import Frame

Writer = Callable[[Path, Iterable[Frame], float], int]
"""Writes pictures at so many a second; returns how many."""


def check_film(path: Path) -> None:
    """Raises ValueError for a name that says no kind of film or a place where no file can be written.

    Raises ModuleNotFoundError where PyAV is missing.
    """
    if path.suffix.lower() not in WRITERS:
        raise ValueError(f"--video is {path}; its name must end in {' or '.join(WRITERS)}.")
    if path.suffix.lower() == ".mp4":
        import av  # noqa: F401, PLC0415
    try:
        _unfinished(path).touch()
        _unfinished(path).unlink()
    except OSError as error:
        raise ValueError(f"--video is {path}, which cannot be written: {error.strerror}.") from error


def write_film(path: Path, frames: Iterable[Frame], fps: float) -> int:
    """Writes the file, which appears once all pictures are there; returns how many. Its suffix says what kind it is."""
    unfinished = _unfinished(path)
    try:
        count = WRITERS[path.suffix.lower()](unfinished, frames, fps)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")


def _write_mp4(path: Path, frames: Iterable[Frame], fps: float) -> int:
    import av  # noqa: PLC0415  (an extra; GIF needs it not)

    count = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options={"crf": "20"})
        stream.pix_fmt = "yuv420p"
        for frame in map(_even, frames):
            if not count:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            count += 1
        container.mux(stream.encode(None))
    return count


def _write_gif(path: Path, frames: Iterable[Frame], fps: float) -> int:
    count = 0

    def images() -> Iterator[Image.Image]:
        nonlocal count
        for frame in frames:
            count += 1
            yield Image.fromarray(frame)

    rest = images()
    duration = max(20, round(100 / fps) * 10)  # ms; the format counts hundredths, and viewers slow down shorter ones
    next(rest).save(path, save_all=True, append_images=rest, duration=duration, loop=0)
    return count


def _even(frame: Frame) -> Frame:
    """The picture with an even number of rows and columns, as H.264 wants it: the last ones are doubled."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


WRITERS: dict[str, Writer] = {".mp4": _write_mp4, ".gif": _write_gif}
"""How to write, by suffix."""
