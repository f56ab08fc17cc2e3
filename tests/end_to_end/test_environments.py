"""Environments of every kind, from training to an answer over HTTP, through the real commands."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.commands import result, run
from dqn_testing.server import running_server

PIXELS = "tests.training.environments:Countdown-v0"
PIXEL_FLAGS = ["--env-kwargs", '{"space": "pixels"}', "--frame-stack", 2, "--name", "pixels", "--total-env-steps", 4000,
               "--eval-every", 500, "--eval-episodes", 20, "--report-episodes", 50, "--replay-capacity", 5000,
               "--stop-return", 4, "--stop-evaluations", 1, "--epsilon-decay-steps", 1000, "--gamma", 0,
               "--batch-size", 32, "--hidden-sizes", 32]  # fmt: skip
SHORT = ["--eval-every", 300, "--eval-episodes", 2, "--report-episodes", 2, "--gate-episodes", 2,
         "--total-env-steps", 600, "--learning-starts", 200, "--hidden-sizes", 32, "--batch-size", 16,
         "--train-every", 16, "--replay-capacity", 1000, "--episode-step-limit", 50, "--num-envs", 4,
         "--vectorization", "sync"]  # fmt: skip


def train(env_id: str, store: Path, *flags: object) -> Any:
    """Trains briefly and returns the manifest."""
    return result("dqn-train", "--env-id", env_id, "--repository", store, *flags)


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelRepository, Any]:
    """A repository with a policy that learned from stacked frames of 12 x 14 colour pixels, and its manifest."""
    store = tmp_path_factory.mktemp("pixels")
    return ModelRepository(store), train(PIXELS, store, *PIXEL_FLAGS)


def frames(left: int) -> np.ndarray[Any, Any]:
    """The stack of two frames with `left` steps left."""
    image = np.zeros((12, 14, 3), np.uint8)
    image[:, : 3 * left] = (250, 120, 10)
    return np.stack([np.zeros_like(image), image])


@pytest.mark.slow
def test_a_policy_learns_from_pixels(pixels: tuple[ModelRepository, Any]) -> None:
    """The policy always earns the maximum return; graph and manifest have the stacked bytes and their wrapper."""
    repository, manifest = pixels
    assert manifest["evaluation"]["mean"] == manifest["evaluation"]["min"] == 4.0
    assert manifest["onnx"]["inputs"] == [{"name": "observation", "dtype": "uint8", "shape": ["batch", 2, 12, 14, 3]}]
    assert manifest["environment"]["wrappers"] == [{"name": "FrameStackObservation", "kwargs": {"stack_size": 2}}]
    assert len(manifest["observations"]["mean"]) == 2 * 12 * 14 * 3
    card = repository.read_file("pixels", 1, "MODEL_CARD.md").decode()
    assert "Wrapper: `FrameStackObservation` with `{'stack_size': 2}`." in card


@pytest.mark.slow
def test_an_evaluation_builds_the_same_environment(pixels: tuple[ModelRepository, Any]) -> None:
    """`dqn-evaluate` stacks frames as training did, and reproduces the numbers of the manifest."""
    repository, manifest = pixels
    found = result("dqn-evaluate", "pixels", "--repository", repository.root, "--episodes", 50)
    assert found.pop("returns") == [4.0] * 50
    assert found == manifest["evaluation"]


@pytest.mark.slow
def test_a_retraining_round_keeps_the_wrappers(pixels: tuple[ModelRepository, Any]) -> None:
    """`dqn-retrain` trains and evaluates its challenger on the same stacked frames as the champion."""
    repository, manifest = pixels
    round_ = result("dqn-retrain", "--once", "--name", "pixels", "--repository", repository.root, "--gate-episodes", 5,
                    "--total-env-steps", 1500, "--env-id", PIXELS)  # fmt: skip
    challenger = repository.manifest("pixels", round_["challenger_version"])
    assert challenger.environment.model_dump() == manifest["environment"]
    assert round_["statistics"]["champion_mean"] == 4.0


@pytest.mark.slow
def test_pixels_are_served(pixels: tuple[ModelRepository, Any]) -> None:
    """Bytes as JSON and as a UINT8 tensor give the learned action; 256, which is not a byte, is refused."""
    repository, _ = pixels
    with running_server(repository) as server:
        server.wait_ready()
        with httpx.Client(base_url=server.url) as client:
            stacks = [frames(left) for left in (1, 2, 3)]
            answer = client.post("/act", json={"observations": [stack.tolist() for stack in stacks]})
            assert answer.json()["actions"] == [5, 6, 7]
            tensor = {"name": "observation", "shape": [3, 2, 12, 14, 3], "datatype": "UINT8"}
            tensor["data"] = np.stack(stacks).ravel().tolist()
            outputs = client.post("/v2/models/pixels/infer", json={"inputs": [tensor]}).json()["outputs"]
            assert next(output["data"] for output in outputs if output["name"] == "action") == [5, 6, 7]
            wrong = frames(1).astype(int)
            wrong[0, 0, 0, 0] = 256
            refused = client.post("/act", json={"observation": wrong.tolist()})
            assert refused.status_code == 422
            assert "256" in refused.json()["detail"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env_id", "flags", "dtype", "shape"),
    [
        ("MinAtar/Breakout-v1", ["--conv-layers", "4x3x2"], "uint8", [10, 10, 4]),
        ("LunarLander-v3", [], "float32", [8]),
        ("ALE/Breakout-v5", ["--frame-stack", 4, "--clip-rewards", "--conv-layers", "4x12x12"], "uint8", [4, 84, 84]),
    ],
)
def test_environments_of_other_packages_work_end_to_end(
    env_id: str, flags: list[object], dtype: str, shape: list[int], tmp_path: Path
) -> None:
    """A short run publishes a policy whose graph takes the environment's observations, and `dqn-evaluate` plays it."""
    manifest = train(env_id, tmp_path, *SHORT, *flags, "--preset", "general")
    (tensor,) = manifest["onnx"]["inputs"]
    assert (tensor["dtype"], tensor["shape"]) == (dtype, ["batch", *shape])
    found = result("dqn-evaluate", manifest["model"], "--repository", tmp_path, "--episodes", 2)
    assert {key: found[key] for key in manifest["evaluation"]} == manifest["evaluation"]


PARTS = ["--env-kwargs", '{"observes": "nested", "acts": "multidiscrete"}', "--name", "parts", *SHORT]


@pytest.mark.slow
def test_observations_of_several_parts_and_joint_actions_go_through_all_commands(tmp_path: Path) -> None:
    """A Dict with images, integers, numbers and a text is trained, evaluated and retrained without any flag for it."""
    env_id = "tests.training.space_environments:Spaced-v0"
    manifest = train(env_id, tmp_path, *PARTS)
    assert manifest["schema_version"] == 2
    assert manifest["environment"]["left_out"] == ["mission", "objects"]
    assert manifest["environment"]["observation_space"]["type"] == "Dict"
    assert manifest["onnx"]["outputs"][1] == {"name": "action", "dtype": "int64", "shape": ["batch", 2]}
    found = result("dqn-evaluate", "parts", "--repository", tmp_path, "--episodes", 2)
    assert found["mean"] == manifest["evaluation"]["mean"]
    again = result("dqn-retrain", "--once", "--name", "parts", "--repository", tmp_path)
    assert (again["champion_version"], again["challenger_version"]) == (1, 2)
    card = ModelRepository(tmp_path).read_file("parts", 2, "MODEL_CARD.md").decode()
    assert "goal.position: 2 numbers of type float64" in card


@pytest.mark.slow
def test_a_model_s_other_observations_are_refused_before_training(tmp_path: Path) -> None:
    """Integers of another range are different observations, even with the same shape."""
    store = ["--repository", tmp_path, "--name", "lake", *SHORT]
    result("dqn-train", "--env-id", "FrozenLake-v1", *store)
    for command in (["dqn-train"], ["dqn-retrain", "--once"]):
        done = run(*command, "--env-id", "FrozenLake8x8-v1", *store)
        assert done.returncode in (1, 2)
        assert "does not fit the model lake" in done.stderr
