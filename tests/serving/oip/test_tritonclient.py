"""NVIDIA's tritonclient, unmodified, against a real server: every call of its HTTP client that is in the protocol."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from dqn_models.repository import ModelRepository
from dqn_testing.server import Server

OBSERVATIONS = np.random.default_rng(4).normal(size=(6, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    """A client of the server."""
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as connected:
        yield connected


def tensor(values: Any = OBSERVATIONS, *, binary: bool = True, datatype: str = "FP32") -> Any:
    """An input of the client."""
    return triton.InferInput("observation", list(values.shape), datatype).set_data_from_numpy(values, binary)


def wanted(**binary: bool) -> list[Any]:
    """Requested outputs by name, and whether each is sent in binary."""
    return [triton.InferRequestedOutput(name, is_binary) for name, is_binary in binary.items()]


def test_health(client: Any) -> None:
    """Server and models are live and ready; unknown models and versions are not."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("cartpole")
    assert client.is_model_ready("cartpole", "2")
    assert not client.is_model_ready("cartpole", "99")
    assert not client.is_model_ready("pong")


def test_server_metadata(client: Any) -> None:
    """The server reports its name, its version and its extensions."""
    metadata = client.get_server_metadata()
    assert metadata["name"] == "dqn-policy-server"
    assert metadata["version"]
    assert set(metadata["extensions"]) == {
        "binary_tensor_data",
        "model_configuration",
        "model_repository",
        "statistics",
    }


def test_model_metadata(client: Any) -> None:
    """A model's metadata names its versions and its tensors with datatypes and shapes."""
    metadata = client.get_model_metadata("cartpole")
    assert metadata == {
        "name": "cartpole",
        "versions": ["1", "2", "3"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "observation", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [
            {"name": "q_values", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "action", "datatype": "INT64", "shape": [-1]},
        ],
    }
    assert client.get_model_metadata("cartpole", "3") == metadata
    assert client.get_model_metadata("lake")["inputs"] == [{"name": "observation", "datatype": "INT64", "shape": [-1]}]


def test_model_config(client: Any) -> None:
    """The configuration has Triton's fields, with the batch limit of this server."""
    config = client.get_model_config("cartpole", "2")
    assert (config["name"], config["platform"], config["max_batch_size"]) == ("cartpole", "onnxruntime_onnx", 64)
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert config["input"][0]["dims"] == [4]
    q_values, action = config["output"]
    assert (q_values["name"], q_values["dims"]) == ("q_values", [2])
    assert (action["name"], action["dims"], action["reshape"]) == ("action", [1], {"shape": []})


def test_repository_index(client: Any) -> None:
    """The index lists every published version, the champions READY."""
    states = {(entry["name"], entry["version"]): entry["state"] for entry in client.get_model_repository_index()}
    assert set(states) == {("cartpole", "1"), ("cartpole", "2"), ("cartpole", "3"), ("lake", "1")}
    assert states["cartpole", "1"] == states["lake", "1"] == "READY"


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
@pytest.mark.parametrize("outputs", [None, {"q_values": True, "action": False}, {"q_values": False, "action": True}])
@pytest.mark.parametrize("binary", [True, False])
def test_infer_returns_what_the_file_computes(
    client: Any, repository: ModelRepository, *, binary: bool, outputs: dict[str, bool] | None, compression: str | None
) -> None:
    """Q-values and actions are bitwise those of the ONNX file, in every form and compression, in both directions."""
    answer = client.infer(
        "cartpole",
        [tensor(binary=binary)],
        outputs=wanted(**outputs) if outputs else None,
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    q_values, actions = repository.load_policy("cartpole", 1).run(OBSERVATIONS)
    assert np.array_equal(answer.as_numpy("q_values"), q_values)
    assert np.array_equal(answer.as_numpy("action"), actions)
    assert (answer.get_response()["model_name"], answer.get_response()["model_version"]) == ("cartpole", "1")


def test_infer_by_version_and_id(client: Any) -> None:
    """A version in the path answers, and the id is returned."""
    answer = client.infer("cartpole", [tensor()], model_version="3", request_id="42")
    assert answer.get_response()["model_version"] == "3"
    assert answer.get_response()["id"] == "42"
    assert "id" not in client.infer("cartpole", [tensor()]).get_response()


def test_discrete_observations(client: Any) -> None:
    """A Discrete observation space takes INT64 of shape [batch]."""
    answer = client.infer("lake", [tensor(np.array([0, 5, 15]), datatype="INT64")])
    assert answer.as_numpy("action").tolist() == [0, 1, 3]


def test_parameters_explore_as_the_native_call_does(client: Any, server: Server) -> None:
    """`epsilon` and `seed` choose the same actions with the same propensities as POST /act does."""
    native = server.post("/act", {"observations": OBSERVATIONS.tolist(), "epsilon": 0.8, "seed": 11}).json()
    answer = client.infer("cartpole", [tensor()], parameters={"epsilon": 0.8, "seed": 11})
    assert answer.as_numpy("action").tolist() == native["actions"]
    assert answer.as_numpy("propensity").tolist() == native["propensity"]


def test_asynchronous_requests(client: Any, repository: ModelRepository) -> None:
    """The client's async_infer, which uses greenlets, gets the same answers."""
    pending = [client.async_infer("cartpole", [tensor()]) for _ in range(8)]
    actions = repository.load_policy("cartpole", 1).act(OBSERVATIONS)
    assert all(np.array_equal(request.get_result().as_numpy("action"), actions) for request in pending)


def test_statistics(client: Any) -> None:
    """Successes, failures and observations are counted by version."""
    before = client.get_inference_statistics("cartpole", "1")["model_stats"][0]
    client.infer("cartpole", [tensor()])
    with pytest.raises(InferenceServerException):
        client.infer("cartpole", [tensor(OBSERVATIONS[:, :3].copy())])
    after = client.get_inference_statistics("cartpole", "1")["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == len(OBSERVATIONS)
    assert after["execution_count"] - before["execution_count"] == 1
    for kind in ("success", "fail"):
        assert after["inference_stats"][kind]["count"] - before["inference_stats"][kind]["count"] == 1
    assert after["last_inference"] > 0
    assert {"cartpole", "lake"} <= {entry["name"] for entry in client.get_inference_statistics()["model_stats"]}


def test_errors_are_understood(client: Any) -> None:
    """The client shows the server's sentence and status for each kind of error."""
    for arguments, status, message in (
        (("pong", [tensor()]), "404", "There is no model 'pong' here"),
        (("cartpole", [tensor()], "99"), "404", "cartpole has no version 99"),
        (("cartpole", [tensor(OBSERVATIONS[:, :3].copy())]), "422", "has shape [6, 3]; cartpole version 1 expects"),
        (("cartpole", [tensor(OBSERVATIONS.astype(float), datatype="FP64")]), "422", "'FP64'; cartpole version 1"),
        (("cartpole", [tensor(np.zeros((65, 4), np.float32))]), "413", "65 entries; at most 64"),
        (("cartpole", [tensor(np.full((1, 4), np.nan, np.float32))]), "422", "element 0 of the binary data is NaN"),
        (("cartpole", [tensor(np.full((1, 4), np.inf, np.float32))]), "422", "is Infinity"),
    ):
        with pytest.raises(InferenceServerException) as raised:
            client.infer(*arguments)
        assert raised.value.status() == status
        assert message in raised.value.message()
