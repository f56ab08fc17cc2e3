"""The infer call byte by byte: the answers to valid requests."""

from typing import Any

import numpy as np
import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.server import Server
from tests.serving.oip.wire import INFER, LAKE, LENGTH, ROW, binary_request, binary_tensor, read, send, tensor

ROWS = np.random.default_rng(6).normal(size=(5, 4)).astype(np.float32)


def test_the_documented_answer(server: Server) -> None:
    """A request in JSON gets the documented object, in JSON, with flat data and nothing else."""
    response = send(server, {"id": "42", "inputs": [tensor(ROW)]})
    assert response.headers["content-type"] == "application/json"
    assert LENGTH not in response.headers
    document, outputs = read(response)
    assert list(document) == ["model_name", "model_version", "id", "outputs"]
    assert (document["model_name"], document["model_version"], document["id"]) == ("cartpole", "1", "42")
    assert [set(output) for output in document["outputs"]] == [{"name", "shape", "datatype", "data"}] * 2
    assert (outputs["q_values"].shape, outputs["action"].tolist()) == ((1, 2), [1])


@pytest.mark.parametrize("data", [ROWS.tolist(), ROWS.ravel().tolist()], ids=["nested", "flat"])
def test_data_is_nested_or_flat(server: Server, repository: ModelRepository, data: list[float]) -> None:
    """Row-major data means the same flat and nested."""
    _, outputs = read(send(server, {"inputs": [tensor(data, [5, 4])]}))
    q_values, actions = repository.load_policy("cartpole", 1).run(ROWS)
    assert np.array_equal(outputs["q_values"], q_values)
    assert np.array_equal(outputs["action"], actions)


@pytest.mark.parametrize("binary", [{"binary_data_output": True}, {}])
def test_binary_in_both_directions(server: Server, repository: ModelRepository, binary: dict[str, bool]) -> None:
    """Binary input is read wherever the JSON ends, and requested outputs follow their JSON in order."""
    q_values, actions = repository.load_policy("cartpole", 1).run(ROWS)
    for padding in ("", "a", "ab", "abc"):  # tensors need not be aligned
        body, length = binary_request(ROWS, parameters=binary, id=padding)
        response = send(server, body, length=length)
        assert response.headers["content-type"] == "application/octet-stream" if binary else "application/json"
        document, outputs = read(response)
        assert document["id"] == padding
        assert np.array_equal(outputs["q_values"], q_values)
        assert np.array_equal(outputs["action"], actions)


def test_an_output_decides_for_itself(server: Server) -> None:
    """An output's `binary_data` overrides the request's `binary_data_output`; outputs are in the requested order."""
    for binary_data_output in (True, False):
        wanted = [{"name": "action", "parameters": {"binary_data": not binary_data_output}}, {"name": "q_values"}]
        parameters = {"binary_data_output": binary_data_output}
        document, _ = read(send(server, {"inputs": [tensor()], "outputs": wanted, "parameters": parameters}))
        assert [output["name"] for output in document["outputs"]] == ["action", "q_values"]
        assert ["data" in output for output in document["outputs"]] == [binary_data_output, not binary_data_output]


def test_one_output(server: Server) -> None:
    """Only requested outputs are sent; no outputs or null means all."""
    document, _ = read(send(server, {"inputs": [tensor()], "outputs": [{"name": "action"}]}))
    assert [output["name"] for output in document["outputs"]] == ["action"]
    everything: list[dict[str, Any]] = [{"outputs": []}, {"outputs": None}]
    for all_of_them in everything:
        assert len(read(send(server, {"inputs": [tensor()]} | all_of_them))[0]["outputs"]) == 2


def test_content_type_does_not_matter(server: Server) -> None:
    """Only the header with the length of the JSON decides how a body is read."""
    body, length = binary_request(ROWS)
    for content_type in ("application/json", "text/plain", "application/octet-stream", ""):
        assert send(server, body, length=length, content_type=content_type).status_code == 200
        assert send(server, {"inputs": [tensor()]}, content_type=content_type).status_code == 200


def test_the_length_may_be_given_without_binary_data(server: Server) -> None:
    """If the JSON's length is that of the whole body, the body is read as JSON."""
    body = b'{"inputs": [{"name": "observation", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}'
    assert send(server, body, length=len(body)).status_code == 200


def test_versions_in_the_path(server: Server) -> None:
    """A version in the path answers with that version's Q-values."""
    for version in (1, 2, 3):
        document, outputs = read(
            send(server, {"inputs": [tensor([0, 0, 0, 0])]}, f"/v2/models/cartpole/versions/{version}/infer")
        )
        assert document["model_version"] == str(version)
        assert outputs["q_values"].tolist() == [[version - 1, version - 1]]


def test_unknown_fields_and_parameters_are_ignored(server: Server) -> None:
    """What the protocol allows and this server does not know has no effect."""
    parameters = {"priority": 1, "timeout": 5, "sequence_id": "a", "mine": True}
    body = {"inputs": [tensor(mine=1)], "parameters": parameters, "model_name": "cartpole", "mine": {"a": []}}
    assert send(server, body).status_code == 200
    assert send(server, {"inputs": [tensor(parameters=None)], "parameters": None, "id": None}).status_code == 200


def test_discrete_observations(server: Server) -> None:
    """A Discrete space takes INT64 of shape [batch], in JSON and in binary."""
    discrete = {"datatype": "INT64"}
    _, outputs = read(send(server, {"inputs": [tensor([0, 5, 15], [3], **discrete)]}, LAKE))
    assert outputs["action"].tolist() == [0, 1, 3]
    values = np.array([0, 5, 15])
    body, length = binary_request(values, inputs=[binary_tensor(24, [3], **discrete)])
    assert read(send(server, body, LAKE, length))[1]["action"].tolist() == [0, 1, 3]


def test_a_column_is_a_batch_of_integers(server: Server) -> None:
    """Triton's clients send [batch, 1] if the policy takes [batch]; it means the same."""
    for data in ([0, 5, 15], [[0], [5], [15]]):
        _, outputs = read(send(server, {"inputs": [tensor(data, [3, 1], datatype="INT64")]}, LAKE))
        assert outputs["action"].tolist() == [0, 1, 3]
    values = np.array([[0], [5], [15]])
    body, length = binary_request(values, inputs=[binary_tensor(24, [3, 1], datatype="INT64")])
    assert read(send(server, body, LAKE, length))[1]["action"].tolist() == [0, 1, 3]


def test_exploring(server: Server) -> None:
    """With an epsilon the answer has `propensity`, FP64 [batch]; a seed repeats the choice, epsilon 0 is greedy."""
    batch = tensor([ROW] * 64, [64, 4])
    first, again, other = (
        read(send(server, {"inputs": [batch], "parameters": {"epsilon": 1, "seed": seed}}))[1] for seed in (7, 7, 8)
    )
    assert first["action"].tolist() == again["action"].tolist() != other["action"].tolist()
    assert first["propensity"].tolist() == [0.5] * 64
    certain = read(send(server, {"inputs": [batch], "parameters": {"epsilon": 0}}))[1]
    assert certain["action"].tolist() == [1] * 64
    assert certain["propensity"].tolist() == [1.0] * 64
    unseeded = [read(send(server, {"inputs": [batch], "parameters": {"epsilon": 1}}))[1]["action"] for _ in range(2)]
    assert unseeded[0].tolist() != unseeded[1].tolist()


def test_actions_and_runs_are_counted(server: Server) -> None:
    """An infer request counts in the same metrics as a native one, by its route's template."""
    template = "/v2/models/{model}/infer"
    before = [
        server.metric("dqn_actions_total", model="cartpole", version="1"),
        server.metric("dqn_inference_duration_seconds_count", model="cartpole"),
        server.metric("dqn_requests_total", endpoint=template, status="200"),
        server.metric("dqn_requests_total", endpoint=template, status="422"),
        server.metric("dqn_observations_rejected_total", model="cartpole", reason="shape"),
    ]
    assert send(server, {"inputs": [tensor(ROWS.tolist(), [5, 4])]}, INFER).status_code == 200
    assert send(server, {"inputs": [tensor([1], [1, 1])]}, INFER).status_code == 422
    after = [
        server.metric("dqn_actions_total", model="cartpole", version="1"),
        server.metric("dqn_inference_duration_seconds_count", model="cartpole"),
        server.metric("dqn_requests_total", endpoint=template, status="200"),
        server.metric("dqn_requests_total", endpoint=template, status="422"),
        server.metric("dqn_observations_rejected_total", model="cartpole", reason="shape"),
    ]
    assert [new - old for old, new in zip(before, after, strict=True)] == [5, 1, 1, 1, 1]
