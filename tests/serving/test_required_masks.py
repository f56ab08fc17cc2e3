"""Models that were trained with action masks: a request sends its mask, in any call, or in its observation."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from dqn_client import PolicyClient, RequestRefusedError
from dqn_models.manifest import EnvironmentInfo, OnnxInfo, TensorSpec
from dqn_models.repository import ModelRepository
from dqn_models.spaces import BoxSpace, DictSpace, DiscreteSpace
from dqn_testing.repositories import discrete_onnx, draft, graph_onnx
from dqn_testing.server import Server, running_server
from tests.serving.oip.wire import read, send, tensor
from tests.serving.stream.client import JSON, MSGPACK, stream

MISSING = "action_mask is missing: {} version 1 was trained and evaluated with the action masks of its environment."
TAXI, BOARD = "/models/taxi", "/models/board"


def publish(store: ModelRepository, model: str, graph: bytes, environment: EnvironmentInfo) -> None:
    """Publishes and promotes a policy for four actions."""
    inputs = [
        TensorSpec(name=leaf.input_name, dtype=leaf.space.tensor_dtype.name, shape=["batch", *leaf.space.tensor_shape])
        for leaf in environment.observation_space.leaves
    ]
    outputs = [
        TensorSpec(name="q_values", dtype="float32", shape=["batch", 4]),
        TensorSpec(name="action", dtype="int64", shape=["batch"]),
    ]
    onnx = OnnxInfo(opset=20, ir_version=10, inputs=inputs, outputs=outputs)
    store.publish(draft(model, onnx=onnx, environment=environment), {"model.onnx": graph})
    store.promote(model, 1)


def publish_board(store: ModelRepository, model: str, dtype: str, tensor: int) -> None:
    """Publishes a board with a mask of this dtype in its observations, whose Q-values are its cells."""
    nodes = [
        helper.make_node("Identity", ["observation.cells"], ["q_values"]),
        helper.make_node("ArgMax", ["q_values"], ["action"], axis=1, keepdims=0),
    ]
    cells, mask = (BoxSpace(shape=[4], dtype=each, low=0.0, high=9.0) for each in ("float32", dtype))
    graph = graph_onnx(
        nodes,
        [
            ("observation.action_mask", tensor, ["batch", 4]),
            ("observation.cells", TensorProto.FLOAT, ["batch", 4]),
        ],
        [("q_values", TensorProto.FLOAT, ["batch", 4]), ("action", TensorProto.INT64, ["batch"])],
        {},
    )
    board = EnvironmentInfo(
        id="Board-v0",
        gymnasium_version="1.4.0",
        observation_space=DictSpace(spaces={"action_mask": mask, "cells": cells}),
        action_space=DiscreteSpace(n=4),
        action_mask="observation",
    )
    publish(store, model, graph, board)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelRepository:
    """Taxi, whose mask is in the info, and a board, whose mask is in its observations; action 3 is the best of each."""
    store = ModelRepository(tmp_path_factory.mktemp("masks"))
    actions = DiscreteSpace(n=4)
    taxi = EnvironmentInfo(
        id="Taxi-v4",
        gymnasium_version="1.4.0",
        observation_space=DiscreteSpace(n=4),
        action_space=actions,
        action_mask="info",
    )
    publish(store, "taxi", discrete_onnx(4, 4), taxi)
    publish_board(store, "board", "uint8", TensorProto.UINT8)
    publish_board(store, "numbers", "float32", TensorProto.FLOAT)
    return store


@pytest.fixture(scope="module")
def strict(store: ModelRepository) -> Iterator[Server]:
    """A server with default settings."""
    with running_server(store, env={"DQN_MODEL": "taxi"}) as running:
        running.wait_ready()
        yield running


def refused(server: Server, path: str, body: Any) -> str:
    """The reason why a request is refused."""
    answer = server.post(path, body)
    assert answer.status_code == 422, answer.text
    return str(answer.json()["detail"])


def on_board(mask: Any, **others: Any) -> dict[str, Any]:
    """A request for the board, with this mask in it."""
    return {"observation": {"cells": [0.0, 1.0, 2.0, 3.0], "action_mask": mask}, **others}


@pytest.mark.parametrize("call", ["act", "q-values"])
@pytest.mark.parametrize("observation", [{"observation": 3}, {"observations": [3, 2]}])
def test_a_request_without_its_mask_is_refused(strict: Server, call: str, observation: dict[str, Any]) -> None:
    """The sentence says why, what to send, and how to turn this off; with it, the best allowed action is returned."""
    detail = refused(strict, f"{TAXI}/{call}", observation)
    assert detail.startswith(MISSING.format("taxi"))
    assert "Send a list of 4 booleans (or 0 and 1)" in detail
    assert "--lenient-masks" in detail
    assert strict.post(f"{TAXI}/{call}", observation | {"epsilon": 0.5}).status_code == 422
    for mask in ([1, 0, 1, 0], [True, False, True, False]):
        answer = strict.post(f"{TAXI}/{call}", observation | {"action_mask": mask}).json()
        assert answer.get("action", answer.get("actions")) in (0, [0, 2])


@pytest.mark.parametrize("encoding", [JSON, MSGPACK])
def test_streams_require_the_mask_too(strict: Server, encoding: str) -> None:
    """A frame without it is refused, even if it would take the fast path."""
    with stream(strict, f"{TAXI}/act/stream", encoding) as opened:
        for _ in range(2):
            assert opened.ask(observation=3)["detail"].startswith(MISSING.format("taxi"))
            assert opened.ask(observation=3, action_mask=[0, 1, 1, 0])["action"] == 1
    with stream(strict, f"{BOARD}/act/stream", encoding) as opened:
        assert opened.ask(**on_board([0, 1, 1, 0]))["action"] == 2
        assert "observation.action_mask masks every action" in opened.ask(**on_board([0, 0, 0, 0]))["detail"]


def test_the_inference_protocol_requires_it_as_a_tensor(strict: Server) -> None:
    """Metadata and configuration list it as an input that is not optional."""
    inputs = [tensor([3], [1], datatype="INT64")]
    answer = send(strict, {"inputs": inputs}, "/v2/models/taxi/infer")
    assert answer.status_code == 422
    assert MISSING.format("taxi") in answer.text
    assert "a tensor action_mask of shape [1, 4]" in answer.text
    mask = {"name": "action_mask", "shape": [1, 4], "datatype": "BOOL", "data": [True, True, False, False]}
    _, outputs = read(send(strict, {"inputs": [*inputs, mask]}, "/v2/models/taxi/infer"))
    assert outputs["action"].tolist() == [0]
    metadata = strict.get("/v2/models/taxi").json()["inputs"]
    assert metadata[1] == {"name": "action_mask", "datatype": "BOOL", "shape": [-1, 4]}
    assert strict.get("/v2/models/taxi/config").json()["input"][1]["optional"] is False
    cells = {"name": "observation.cells", "shape": [1, 4], "datatype": "FP32", "data": [0, 1, 2, 3]}
    for data, expected in (([0, 1, 1, 0], [2]), ([0, 0, 0, 0], None)):
        inside = {"name": "observation.action_mask", "shape": [1, 4], "datatype": "UINT8", "data": data}
        answer = send(strict, {"inputs": [inside, cells]}, "/v2/models/board/infer")
        assert answer.status_code == (422 if expected is None else 200)
        assert expected is None or read(answer)[1]["action"].tolist() == expected


def test_a_mask_in_the_observation_is_taken_from_there(strict: Server) -> None:
    """No other mask is needed; one that is sent next to the observation takes precedence."""
    assert strict.post(f"{BOARD}/act", on_board([0, 1, 1, 0])).json()["action"] == 2
    assert strict.post(f"{BOARD}/act", on_board([0, 1, 1, 0], action_mask=[1, 0, 0, 0])).json()["action"] == 0
    both = {"observations": [on_board(mask)["observation"] for mask in ([1, 1, 1, 1], [0, 1, 0, 0])]}
    assert strict.post(f"{BOARD}/act", both).json()["actions"] == [3, 1]
    explored = [strict.post(f"{BOARD}/act", on_board([0, 1, 1, 0], epsilon=1.0)).json() for _ in range(20)]
    assert {answer["action"] for answer in explored} <= {1, 2}
    assert {answer["propensity"] for answer in explored} == {0.5}


@pytest.mark.parametrize("model", ["board", "numbers"])
def test_a_mask_in_the_observation_may_have_booleans(strict: Server, model: str) -> None:
    """Whatever dtype its space has, by each call; those that allow nothing are refused as others are."""
    mask, q_values = [False, True, True, False], f"/models/{model}/q-values"
    assert strict.post(f"/models/{model}/act", on_board(mask)).json()["action"] == 2
    assert strict.post(q_values, {"observations": [on_board(mask)["observation"]]}).json()["actions"] == [2]
    with PolicyClient(strict.url, model=model) as client, client.stream() as opened:
        observation = {"cells": np.arange(4.0), "action_mask": np.array(mask)}
        assert client.act(observation).action == opened.act(observation).action == 2
    assert "masks every action" in refused(strict, f"/models/{model}/act", on_board([False] * 4))


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ([0, 0, 0, 0], "observation.action_mask masks every action; at least one must be allowed."),
        ([0, 2, 0, 1], "observation.action_mask has 2 in it; expected 0 and 1."),
    ],
)
def test_a_wrong_mask_in_the_observation_is_named(strict: Server, mask: list[int], words: str) -> None:
    """Alone or in a batch."""
    assert refused(strict, f"{BOARD}/act", on_board(mask)) == words
    batch = {"observations": [on_board([1, 1, 1, 1])["observation"], on_board(mask)["observation"]]}
    assert refused(strict, f"{BOARD}/act", batch) == words.replace("observation.", "observations[1].")


def test_lenient_servers_answer_without(store: ModelRepository) -> None:
    """With DQN_LENIENT_MASKS the mask may be left out, in every call."""
    with running_server(store, env={"DQN_MODEL": "taxi", "DQN_LENIENT_MASKS": "1"}) as lenient:
        lenient.wait_ready()
        assert lenient.post("/act", {"observation": 3}).json()["action"] == 3
        assert lenient.post("/act", {"observations": [3, 1]}).json()["actions"] == [3, 1]
        assert lenient.get("/v2/models/taxi/config").json()["input"][1]["optional"] is True
        with stream(lenient, "/act/stream", JSON) as opened:
            assert opened.ask(observation=3)["action"] == 3


def test_the_client_joins_the_masks_of_components(strict: Server) -> None:
    """A tuple of masks, one for each component of an action as in Gymnasium, allows their combinations, in C order."""
    parts = (np.array([1, 0], np.int8), np.array([1, 1], np.int8))  # of four joint actions the first two
    with PolicyClient(strict.url, model="taxi") as client, client.stream() as opened:
        for observation, action in ((1, 1), (3, 0)):
            assert client.act(observation, action_mask=parts).action == action
            assert opened.act(observation, action_mask=parts).action == action
            assert client.q_values(observation, action_mask=parts).action == action


def test_the_client_passes_the_mask_of_an_info(strict: Server) -> None:
    """As Gymnasium returns it; without it the error has the server's sentence."""
    with PolicyClient(strict.url, model="taxi") as client, client.stream() as opened:
        mask = np.array([0, 1, 1, 0], np.int8)
        assert client.act(3, action_mask=mask).action == opened.act(3, action_mask=mask).action == 1
        for actor in (client, opened):
            with pytest.raises(RequestRefusedError, match="action_mask is missing"):
                actor.act(3)


@pytest.mark.parametrize("model", ["taxi", "board"])
def test_examples_include_their_masks(strict: Server, model: str) -> None:
    """A model's example in the document gets an answer, and its catalogue entry says where the masks come from."""
    paths = strict.get("/openapi.json").json()["paths"]
    content = paths["/models/{model}/act"]["post"]["requestBody"]["content"]["application/json"]
    assert strict.post(f"/models/{model}/act", content["examples"][model]["value"]).json()["model"] == model
    spaces = strict.get(f"/models/{model}").json()["spaces"]
    assert spaces["action_mask"] == {"taxi": "info", "board": "observation"}[model]
    assert ("example_action_mask" in spaces) is (model == "taxi")
