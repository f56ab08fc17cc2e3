"""Every space of observations and actions, in its own form, in every call: the answers are the policy's."""

from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from dqn_models.policy import Policy
from dqn_models.repository import ModelRepository
from dqn_testing.server import Server
from dqn_testing.spaced_models import ACTION_SPACES, LEFT_OUT, OBSERVATION_SPACES, observe, plain
from tests.serving.stream.client import JSON, MSGPACK, stream

DATATYPES = {"float32": "FP32", "uint8": "UINT8", "int64": "INT64"}
BATCH = 5
every_model = pytest.mark.parametrize("model", OBSERVATION_SPACES)


def batch_of(model: str) -> tuple[list[Any], Any]:
    """Observations as an environment returns them, and the same as rows."""
    observations = [observe(model) for _ in range(BATCH)]
    space = OBSERVATION_SPACES[model]
    return observations, np.array([space.flatten(observation) for observation in observations], space.tensor_dtype)


def tensors_of(model: str, rows: Any) -> dict[str, Any]:
    """The tensor of each leaf, by the name of the graph's input."""
    leaves = OBSERVATION_SPACES[model].leaves
    return {leaf.input_name: np.ascontiguousarray(rows[leaf.name] if leaf.path else rows) for leaf in leaves}


@pytest.fixture
def policy(spaced_store: ModelRepository, model: str) -> Policy:
    """The policy of a model, loaded in this process."""
    return spaced_store.load_policy(model, 1)


@every_model
def test_native_calls(spaced: Server, policy: Policy, model: str) -> None:
    """One observation and a batch, including parts that the space leaves out, get the file's actions and Q-values."""
    observations, rows = batch_of(model)
    q_values, actions = policy.run(rows)
    for observation, action in zip(observations, actions, strict=True):
        answer = spaced.post(f"/models/{model}/act", {"observation": plain(observation)})
        assert answer.json() == {"action": action.tolist(), "model": model, "version": 1}
    body = {"observations": [plain(observation) for observation in observations]}
    answer = spaced.post(f"/models/{model}/q-values", body)
    assert answer.json()["actions"] == actions.tolist()
    np.testing.assert_allclose(answer.json()["q_values"], q_values, rtol=1e-5, atol=1e-4)
    one = spaced.post(f"/models/{model}/q-values", {"observation": plain(observations[0])}).json()
    assert one["action"] == actions[0].tolist()
    assert spaced.post(f"/models/{model}/act", body).json()["actions"] == actions.tolist()


@every_model
@pytest.mark.parametrize("encoding", [JSON, MSGPACK])
def test_streams(spaced: Server, policy: Policy, model: str, encoding: str) -> None:
    """A stream takes the same form in JSON and in MessagePack, for single frames and for several."""
    observations, rows = batch_of(model)
    actions = policy.act(rows).tolist()
    with stream(spaced, f"/models/{model}/act/stream", encoding) as opened:
        for observation, action in zip(observations, actions, strict=True):
            assert opened.ask(observation=plain(observation)) == {"type": "action", "action": action, "version": 1}
        for observation in observations:
            opened.send(observation=plain(observation), epsilon=0.0, seed=1)
        assert [opened.receive()["action"] for _ in observations] == actions


@every_model
def test_masks_and_exploration_go_by_index(spaced: Server, model: str) -> None:
    """A mask has a boolean for each joint action, and exploring draws an index; the answer is its action."""
    observation, space = observe(model), ACTION_SPACES[model]
    every = space.action(np.arange(space.n)).tolist()
    for index in range(space.n):
        body = {"observation": plain(observation), "action_mask": [other == index for other in range(space.n)]}
        assert spaced.post(f"/models/{model}/act", body).json()["action"] == every[index]
        with_tensor = {"name": "action_mask", "shape": [1, space.n], "datatype": "BOOL", "data": body["action_mask"]}
        assert infer(spaced, model, [observation], with_tensor)["action"] == np.ravel(every[index]).tolist()
    exploring = {"observations": [plain(observation)] * 200, "epsilon": 1.0, "seed": 4}
    explored = spaced.post(f"/models/{model}/act", exploring).json()
    assert {str(action) for action in explored["actions"]} == {str(action) for action in every}
    assert explored["propensity"] == pytest.approx([1 / space.n] * 200)


def infer(server: Server, model: str, observations: list[Any], *more: Any) -> dict[str, Any]:
    """The outputs of an infer call with its tensors in JSON, by name."""
    space = OBSERVATION_SPACES[model]
    rows = np.array([space.flatten(observation) for observation in observations], space.tensor_dtype)
    inputs = [
        {"name": name, "shape": list(values.shape), "datatype": DATATYPES[values.dtype.name], "data": values.tolist()}
        for name, values in tensors_of(model, rows).items()
    ]
    response = server.post(f"/v2/models/{model}/infer", {"inputs": [*reversed(inputs), *more]})
    assert response.status_code == 200, response.text
    return {output["name"]: output["data"] for output in response.json()["outputs"]}


@every_model
def test_tensors_in_json(spaced: Server, policy: Policy, model: str) -> None:
    """The standard protocol has one tensor for each leaf, in any order, one observation or many."""
    observations, rows = batch_of(model)
    actions = policy.act(rows)
    assert infer(spaced, model, observations)["action"] == actions.ravel().tolist()
    assert infer(spaced, model, observations[:1])["action"] == actions[:1].ravel().tolist()


@every_model
def test_tritonclient(spaced: Server, policy: Policy, model: str) -> None:
    """NVIDIA's client finds the tensors in the metadata, sends them in binary and gets actions of the graph's shape."""
    _, rows = batch_of(model)
    q_values, actions = policy.run(rows)
    tensors = tensors_of(model, rows)
    with triton.InferenceServerClient(spaced.url.removeprefix("http://")) as client:
        metadata = client.get_model_metadata(model)
        assert {each["name"]: each["shape"] for each in metadata["inputs"]} == {
            name: [-1, *values.shape[1:]] for name, values in tensors.items()
        }
        inputs = [
            triton.InferInput(each["name"], list(tensors[each["name"]].shape), each["datatype"]).set_data_from_numpy(
                tensors[each["name"]]
            )
            for each in metadata["inputs"]
        ]
        found = client.infer(model, inputs)
    assert found.as_numpy("action").dtype == actions.dtype
    np.testing.assert_array_equal(found.as_numpy("action"), actions)
    np.testing.assert_allclose(found.as_numpy("q_values"), q_values, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("model", ["nested"])
def test_actions_are_counted_by_index(spaced: Server, policy: Policy, model: str) -> None:
    """A joint action is counted by its index."""
    observation = observe(model)
    index = int(policy.q_values(OBSERVATION_SPACES[model].flatten(observation)[None]).argmax())
    labels = {"model": model, "version": "1", "action": str(index)}
    before = spaced.metric("dqn_actions_total", **labels)
    spaced.post(f"/models/{model}/act", {"observation": plain(observation)})
    assert spaced.metric("dqn_actions_total", **labels) == before + 1


@every_model
def test_a_model_describes_its_spaces(spaced: Server, model: str) -> None:
    """A model shows its spaces in words, as in the manifest, and with an example that every call accepts."""
    known = spaced.get(f"/models/{model}").json()["spaces"]
    space, actions = OBSERVATION_SPACES[model], ACTION_SPACES[model]
    assert known["observation_space"] == space.model_dump(mode="json")
    assert known["action_space"] == actions.model_dump(mode="json")
    assert (known["observation"], known["action"], known["n_actions"]) == (
        space.describe(),
        actions.describe(),
        actions.n,
    )
    assert known["left_out"] == list(LEFT_OUT.get(model, ()))
    assert known["example_action"] == actions.action(np.arange(1)).tolist()[0]
    body = {"observation": known["example_observation"]}
    assert spaced.post(f"/models/{model}/act", body).status_code == 200
    examples = [
        spaced.get("/openapi.json").json()["paths"][f"/models/{{model}}/{call}"]["post"]["requestBody"]["content"]
        for call in ("act", "q-values")
    ]
    for content in examples:
        shown = content["application/json"]["examples"][model]
        assert shown["value"] == body
        assert space.describe() in shown["description"]
