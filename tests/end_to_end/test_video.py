"""`dqn-evaluate --video`: the recorded frames are read back from the file."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from dqn_models.repository import ModelRepository
from dqn_testing.commands import result, run_here
from dqn_testing.repositories import CARTPOLE_WEIGHTS, draft, linear_onnx, publish_discrete

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Policies of CartPole that fail early, of FrozenLake, and of an environment that cannot render."""
    repository = ModelRepository(tmp_path / "store")
    clumsy = repository.publish(draft(), {"model.onnx": linear_onnx(CARTPOLE_WEIGHTS * [[1], [1], [1], [0]])})
    repository.promote("cartpole", clumsy.version)
    publish_discrete(repository)
    environment = draft().environment.model_copy(update={"id": "tests.training.environments:Countdown-v0"})
    repository.promote("plain", repository.publish(draft("plain", environment=environment), _onnx(repository)).version)
    return tmp_path / "store"


def _onnx(repository: ModelRepository) -> dict[str, bytes]:
    return {"model.onnx": repository.read_file("cartpole", 1, "model.onnx")}


def test_an_mp4_has_every_step_of_the_episodes(tmp_path: Path, store: Path) -> None:
    """The video has a frame for each start and step, at the environment's speed and size, none of them black."""
    path = tmp_path / "v.mp4"
    flags = ["--repository", store, "--episodes", 2, "--seed", 5, "--video", path, "--video-episodes", 2]
    found = result("dqn-evaluate", "cartpole", *flags)["video"]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert stream.average_rate == Fraction(50)
    assert len(pictures) == found["frames"] == sum(found["returns"]) + 2  # CartPole gives 1 for each step
    assert pictures[0].shape == (400, 600, 3)
    assert all(picture.mean() > 100 for picture in pictures)
    assert np.abs(pictures[0].astype(int) - pictures[-1]).max() > 100  # the pole has moved
    assert [each.name for each in tmp_path.iterdir() if each != store] == ["v.mp4"]


def test_a_gif_of_an_environment_that_opens_windows(tmp_path: Path, store: Path) -> None:
    """An environment drawn with Pygame is recorded without a display, and discrete observations reach the policy."""
    found = result("dqn-evaluate", "lake", "--repository", store, "--episodes", 1, "--video", tmp_path / "v.gif")
    with Image.open(tmp_path / "v.gif") as film:
        pictures = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(film)]
    assert len(pictures) == found["video"]["frames"] > 1
    assert all(picture.mean() > 50 for picture in pictures)


@pytest.mark.parametrize(
    ("model", "flags", "sentence"),
    [
        ("cartpole", ["--video", "{folder}/v.avi"], "v.avi; its name must end in .mp4 or .gif."),
        ("cartpole", ["--video", "{folder}/no/v.mp4"], "which cannot be written: No such file or directory."),
        ("cartpole", ["--video", "{folder}/v.gif", "--video-episodes", "0"], "--video-episodes is 0; it must be at"),
        (
            "plain",
            ["--video", "{folder}/v.gif"],
            "Countdown-v0 cannot be recorded: its render modes are none; a video needs",
        ),
    ],
)
def test_what_prevents_a_video_is_reported_before_playing(
    tmp_path: Path, store: Path, model: str, flags: list[str], sentence: str
) -> None:
    """If no video can be made, the command exits with status 2 and a sentence before it plays, and leaves no file."""
    flags = [flag.format(folder=tmp_path) for flag in flags]
    done = run_here("dqn-evaluate", model, "--repository", store, "--episodes", 10**9, *flags)
    assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    assert list(tmp_path.iterdir()) == [store]
