"""Films of a policy: episodes as the environment draws them, played by the ONNX file as it is served, in a file.

MP4 (H.264) is written by PyAV, GIF by Pillow, a frame at a time.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dqn_models.manifest import EnvironmentInfo
from dqn_models.masks import ACTION_MASK
from dqn_models.policy import Policy
from dqn_training.envs.checks import AnyEnv
from dqn_training.envs.make import make_described
from dqn_training.evaluation.play import decide

Frame = NDArray[np.uint8]
"""A picture, [height, width, 3]."""

_SMALLEST = 256  # pixels of the longer side; smaller pictures are enlarged
_DEFAULT_FPS = 30.0


class EpisodeRenderer:
    """The environment of a film, checked before anything is played. To be closed by the caller."""

    def __init__(self, environment: EnvironmentInfo) -> None:
        """Raises ValueError where the environment cannot draw itself."""
        for name, value in {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}.items():
            os.environ.setdefault(name, value)  # pygame needs no screen then
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # standard output is for results
        self._info = environment
        _check_modes(environment)
        self._environment = make_described(environment, render_mode="rgb_array")
        skipped = [int(each.kwargs.get("frame_skip", 1)) for each in environment.wrappers]
        fps = self._environment.metadata.get("render_fps") or _DEFAULT_FPS
        self.fps = float(fps) / int(np.prod(skipped))
        self.returns: list[float] = []  # of the episodes that were filmed to their end

    def frames(self, policy: Policy, seed: int, episodes: int, step_limit: int) -> Iterator[Frame]:
        """A picture at the start of each episode and one after every step, labelled with the return so far."""
        for number in range(episodes):
            observation, info = self._environment.reset(seed=seed + number)
            total, length, ended = 0.0, 0, False
            yield self._picture(number, length, total)
            while not ended and length < step_limit:
                batch = np.asarray(observation, policy.observation_dtype)[None]
                masks = info[ACTION_MASK][None] if info else None
                (action,) = decide(policy, self._info.action_space, batch, masks)
                observation, reward, terminated, truncated, info = self._environment.step(action)
                total, length, ended = total + float(reward), length + 1, terminated or truncated
                yield self._picture(number, length, total)
            self.returns.append(total)

    def close(self) -> None:
        """Closes the environment."""
        self._environment.close()

    def _picture(self, number: int, length: int, total: float) -> Frame:
        picture = _rendered(self._environment, self._info.id)
        picture = picture.repeat(factor := -(-_SMALLEST // max(picture.shape[:2])), axis=0).repeat(factor, axis=1)
        return _labelled(picture, f"episode {number + 1}  step {length}  return {total:g}")


def _check_modes(info: EnvironmentInfo) -> None:
    """Raises ValueError where an environment says that it cannot draw itself into an array."""
    environment = make_described(info)
    modes = environment.metadata.get("render_modes") or []
    environment.close()
    if "rgb_array" not in modes:
        able = f"only {', '.join(map(str, modes))}" if modes else "nothing"
        raise ValueError(f"{info.id} cannot be filmed: it renders {able}, and a film needs the render mode rgb_array.")


def _rendered(environment: AnyEnv, env_id: str) -> Frame:
    """The environment's current picture. Raises ValueError if it gives none."""
    try:
        picture: Any = environment.render()
    except gymnasium.error.Error as error:
        raise ValueError(f"{env_id} cannot be filmed: {error}") from error
    found = np.asarray(picture)
    if found.dtype.kind == "f":  # MinAtar's, from 0 to 1
        found = (255 * found).clip(0, 255).astype(np.uint8)
    if found.ndim == 3 and found.shape[2] == 4:  # RGBA, as Matplotlib's buffer
        found = found[:, :, :3]
    if found.ndim != 3 or found.shape[2] != 3 or found.dtype.kind not in "ui" or not found.size:
        what = f"an array of {found.dtype} {list(found.shape)}" if found.ndim else type(picture).__name__
        raise ValueError(f"{env_id} cannot be filmed: it rendered {what}; expected [height, width, 3] of uint8.")
    return found.astype(np.uint8, copy=False)


def _labelled(picture: Frame, text: str) -> Frame:
    """The picture with a line of text in its upper left corner."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(10.0, image.height / 25))
    left, top, right, bottom = draw.textbbox((4, 4), text, font)
    draw.rectangle((left - 3, top - 3, right + 3, bottom + 3), fill="black")
    draw.text((4, 4), text, "white", font)
    return np.asarray(image)


def check_film(path: Path) -> None:
    """Raises ValueError for a name that says no kind of film or a place where no file can be written.

    Raises ModuleNotFoundError where PyAV is missing.
    """
    if path.suffix.lower() not in _WRITERS:
        raise ValueError(f"--video is {path}; its name must end in {' or '.join(_WRITERS)}.")
    if path.suffix.lower() == ".mp4":
        import av  # noqa: F401, PLC0415
    try:
        _unfinished(path).touch()
        _unfinished(path).unlink()
    except OSError as error:
        raise ValueError(f"--video is {path}, which cannot be written: {error.strerror}.") from error


def write_film(path: Path, frames: Iterable[Frame], fps: float) -> int:
    """Writes the file, which appears once all pictures are there; returns how many. Its suffix says what kind it is."""
    unfinished, count = _unfinished(path), itertools.count()
    try:
        _WRITERS[path.suffix.lower()](unfinished, (frame for frame, _ in zip(frames, count, strict=False)), fps)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return next(count)


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")


def _write_mp4(path: Path, frames: Iterator[Frame], fps: float) -> None:
    import av  # noqa: PLC0415  (optional; not needed for GIF)

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options={"crf": "20"})
        stream.pix_fmt = "yuv420p"
        first = _even(next(frames))
        stream.height, stream.width = first.shape[:2]
        for frame in itertools.chain([first], map(_even, frames)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def _write_gif(path: Path, frames: Iterator[Frame], fps: float) -> None:
    images = map(Image.fromarray, frames)
    duration = max(20, round(100 / fps) * 10)  # ms; the format counts hundredths, and viewers slow down shorter ones
    next(images).save(path, save_all=True, append_images=images, duration=duration, loop=0)


def _even(frame: Frame) -> Frame:
    """The picture with an even number of rows and columns, as H.264 requires: the last ones are repeated."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


_WRITERS: dict[str, Callable[[Path, Iterator[Frame], float], None]] = {".mp4": _write_mp4, ".gif": _write_gif}
"""By suffix: writes frames at so many a second."""
