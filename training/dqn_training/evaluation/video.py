"""Videos of a policy: episodes rendered by the environment, played with the ONNX file that is served.

MP4 (H.264) is written by PyAV, GIF by Pillow, one frame at a time.
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
"""An image, [height, width, 3]."""

_SMALLEST = 256  # pixels on the longer side; smaller images are enlarged
_DEFAULT_FPS = 30.0


class EpisodeRenderer:
    """Renders episodes of an environment, which is checked before anything is played. The caller must close it."""

    def __init__(self, environment: EnvironmentInfo) -> None:
        """Raises ValueError if the environment cannot be rendered."""
        for name, value in {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}.items():
            os.environ.setdefault(name, value)  # pygame then needs no display
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # standard output is for results
        self._info = environment
        _check_modes(environment)
        self._environment = make_described(environment, render_mode="rgb_array")
        skipped = [int(each.kwargs.get("frame_skip", 1)) for each in environment.wrappers]
        fps = self._environment.metadata.get("render_fps") or _DEFAULT_FPS
        self.fps = float(fps) / int(np.prod(skipped))
        self.returns: list[float] = []  # of the episodes recorded to their end

    def frames(self, policy: Policy, seed: int, episodes: int, step_limit: int) -> Iterator[Frame]:
        """An image at the start of each episode and one after every step, labelled with the return so far."""
        for number in range(episodes):
            observation, info = self._environment.reset(seed=seed + number)
            total, length, ended = 0.0, 0, False
            yield self._image(number, length, total)
            while not ended and length < step_limit:
                batch = np.asarray(observation, policy.observation_dtype)[None]
                masks = info[ACTION_MASK][None] if info else None
                (action,) = decide(policy, self._info.action_space, batch, masks)
                observation, reward, terminated, truncated, info = self._environment.step(action)
                total, length, ended = total + float(reward), length + 1, terminated or truncated
                yield self._image(number, length, total)
            self.returns.append(total)

    def close(self) -> None:
        """Closes the environment."""
        self._environment.close()

    def _image(self, number: int, length: int, total: float) -> Frame:
        image = _rendered(self._environment, self._info.id)
        image = image.repeat(factor := -(-_SMALLEST // max(image.shape[:2])), axis=0).repeat(factor, axis=1)
        return _labelled(image, f"episode {number + 1}  step {length}  return {total:g}")


def _check_modes(info: EnvironmentInfo) -> None:
    """Raises ValueError if an environment does not support rendering to an array."""
    environment = make_described(info)
    modes = environment.metadata.get("render_modes") or []
    environment.close()
    if "rgb_array" not in modes:
        found = ", ".join(map(str, modes)) or "none"
        raise ValueError(f"{info.id} cannot be recorded: its render modes are {found}; a video needs rgb_array.")


def _rendered(environment: AnyEnv, env_id: str) -> Frame:
    """The environment's current image. Raises ValueError if it does not return one."""
    try:
        image: Any = environment.render()
    except gymnasium.error.Error as error:
        raise ValueError(f"{env_id} cannot be recorded: {error}") from error
    found = np.asarray(image)
    if found.dtype.kind == "f":  # MinAtar's, from 0 to 1
        found = (255 * found).clip(0, 255).astype(np.uint8)
    if found.ndim == 3 and found.shape[2] == 4:  # RGBA, as Matplotlib's buffer
        found = found[:, :, :3]
    if found.ndim != 3 or found.shape[2] != 3 or found.dtype.kind not in "ui" or not found.size:
        what = f"an array of {found.dtype} {list(found.shape)}" if found.ndim else type(image).__name__
        raise ValueError(f"{env_id} cannot be recorded: it rendered {what}; expected [height, width, 3] of uint8.")
    return found.astype(np.uint8, copy=False)


def _labelled(frame: Frame, text: str) -> Frame:
    """The image with a line of text in its upper left corner."""
    image = Image.fromarray(frame)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(10.0, image.height / 25))
    left, top, right, bottom = draw.textbbox((4, 4), text, font)
    draw.rectangle((left - 3, top - 3, right + 3, bottom + 3), fill="black")
    draw.text((4, 4), text, "white", font)
    return np.asarray(image)


def check_video(path: Path) -> None:
    """Raises ValueError if the suffix is not a supported format or the file cannot be written.

    Raises ModuleNotFoundError if PyAV is needed but missing.
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


def write_video(path: Path, frames: Iterable[Frame], fps: float) -> int:
    """Writes a video in the format of its suffix and returns the number of frames; the file appears when complete."""
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
    duration = max(
        20, round(100 / fps) * 10
    )  # ms; GIF counts hundredths of a second, and viewers slow down shorter durations
    next(images).save(path, save_all=True, append_images=images, duration=duration, loop=0)


def _even(frame: Frame) -> Frame:
    """The image with even height and width, as H.264 requires; the last row or column is repeated."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


_WRITERS: dict[str, Callable[[Path, Iterator[Frame], float], None]] = {".mp4": _write_mp4, ".gif": _write_gif}
"""Writers by suffix: path, frames, frames per second."""
