"""Observations and masks as environments return them: `tolist()` of any supported space, in every call and stream."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import SPACES, publish_box
from dqn_testing.server import Server, running_server
from tests.serving.stream.client import JSON, MSGPACK, stream

DATATYPES = {"float32": "FP32", "uint8": "UINT8", "int64": "INT64"}


@pytest.fixture(scope="module")
def plants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one policy for each dtype of observations."""
    store = ModelRepository(tmp_path_factory.mktemp("plants"))
    for dtype in SPACES:
        publish_box(store, dtype)
    with running_server(store, env={"DQN_MODEL": "float32"}) as running:
        running.wait_ready()
        yield running


def infer(server: Server, model: str, *inputs: Any) -> Any:
    """The actions of an infer call."""
    body = {"inputs": inputs, "outputs": [{"name": "action"}]}
    response = server.post(f"/v2/models/{model}/infer", body)
    assert response.status_code == 200, response.text
    return response.json()["outputs"][0]["data"]


@pytest.mark.parametrize("dtype", SPACES)
def test_observations_as_lists(plants: Server, dtype: str) -> None:
    """The policy of each space accepts `tolist()` of an observation, booleans included."""
    batch = np.array([[[0, 1], [0, 1]], [[0, 0], [1, 0]]], dtype)
    first, _ = batch.tolist()
    assert plants.post(f"/models/{dtype}/act", {"observation": first}).json()["action"] == 1
    assert plants.post(f"/models/{dtype}/act", {"observations": batch.tolist()}).json()["actions"] == [1, 2]
    tensor = {"name": "observation", "shape": [2, 2, 2], "datatype": DATATYPES[SPACES[dtype]]}
    assert infer(plants, dtype, tensor | {"data": batch.tolist()}) == [1, 2]
    assert infer(plants, dtype, tensor | {"data": batch.ravel().tolist()}) == [1, 2]
    for encoding in (JSON, MSGPACK):
        with stream(plants, f"/models/{dtype}/act/stream", encoding) as opened:
            assert opened.ask(observation=first)["action"] == 1


@pytest.mark.parametrize("is_binary", [True, False])
def test_booleans_as_tensors(plants: Server, is_binary: bool) -> None:  # noqa: FBT001  (a parameter of the test)
    """NVIDIA's client may send an observation of booleans as BOOL, in binary and in JSON; elsewhere BOOL is refused."""
    batch = np.array([[[0, 1], [0, 1]], [[0, 0], [1, 0]]], np.bool_)
    tensor = triton.InferInput("observation", [2, 2, 2], "BOOL").set_data_from_numpy(batch, is_binary)
    with triton.InferenceServerClient(plants.url.removeprefix("http://")) as client:
        assert client.infer("bool", [tensor]).as_numpy("action").tolist() == [1, 2]
        with pytest.raises(InferenceServerException, match="has datatype 'BOOL'; uint8 version 1 expects UINT8"):
            client.infer("uint8", [tensor])


@pytest.mark.parametrize("dtype", [np.int8, np.bool_])
def test_masks_as_lists(plants: Server, dtype: type) -> None:
    """A mask is accepted as 0 and 1, as in Gymnasium, or as booleans, also in binary tensors."""
    mask: Any = np.array([1, 0, 1], dtype)
    one = {"observation": [[0.5, 1], [0, 0]], "action_mask": mask.tolist()}
    many = {"observations": [[[0.5, 1], [0, 0]]] * 2, "action_mask": [mask.tolist(), [1, 1, 1]]}
    assert plants.post("/models/float32/q-values", one).json()["action"] == 0
    assert plants.post("/models/float32/act", many).json()["actions"] == [0, 1]
    tensor = {"name": "observation", "shape": [1, 2, 2], "datatype": "FP32", "data": [0.5, 1, 0, 0]}
    masks = {"name": "action_mask", "shape": [1, 3], "datatype": "BOOL" if dtype is np.bool_ else "INT8"}
    assert infer(plants, "float32", tensor, masks | {"data": mask.tolist()}) == [0]
    assert infer(plants, "float32", tensor, masks | {"data": [mask.tolist()]}) == [0]
    for encoding in (JSON, MSGPACK):
        with stream(plants, "/models/float32/act/stream", encoding) as opened:
            assert opened.ask(**one)["action"] == 0


def test_numbers_are_not_booleans_elsewhere(plants: Server) -> None:
    """A boolean in a space of numbers, and a number above 1 in a mask, are refused with what is expected."""
    refused = plants.post("/models/float32/act", {"observation": [[True, 0], [0, 0]]})
    assert (refused.status_code, refused.json()["reason"]) == (422, "type")
    refused = plants.post("/models/float32/act", {"observation": [[0, 0], [0, 0]], "action_mask": [1, 2, 0]})
    assert (
        "a list with 2 in it; float32 version 1 expects a list of 3 booleans (or 0 and 1)" in refused.json()["detail"]
    )
