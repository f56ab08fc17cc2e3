"""Every space of observations and actions, in its own form, in every call: the answers are the policy's."""

import math
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from dqn_models.policy import Policy
from dqn_models.repository import ModelRepository
from dqn_testing.server import Server
from dqn_testing.spaced_models import ACTION_SPACES, LEFT_OUT, OBSERVATION_SPACES, observe, only, plain, some_indices
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
    """A mask has a boolean for each Q-value, and exploring draws an index; the answer is its action."""
    observation, space = observe(model), ACTION_SPACES[model]
    for index in some_indices(space):
        expected, mask = space.action(index).tolist(), only(space, index)
        body = {"observation": plain(observation), "action_mask": mask}
        assert spaced.post(f"/models/{model}/act", body).json()["action"] == expected
        with_tensor = {"name": "action_mask", "shape": [1, space.n], "datatype": "BOOL", "data": mask}
        assert infer(spaced, model, [observation], with_tensor)["action"] == np.ravel(expected).tolist()
    exploring = {"observations": [plain(observation)] * 200, "epsilon": 1.0, "seed": 4}
    explored = spaced.post(f"/models/{model}/act", exploring).json()
    count = math.prod(space.components)
    assert len({str(action) for action in explored["actions"]}) == min(200, count)
    assert explored["propensity"] == pytest.approx([1 / count] * 200)


@pytest.mark.parametrize("model", ["branches"])
def test_actions_that_branch_are_explored_as_a_whole_and_their_masks_checked_by_component(
    spaced: Server, policy: Policy, model: str
) -> None:
    """All components explore or none; a mask must leave each of them a value, and is refused with which it does not."""
    observation = observe(model)
    greedy = policy.act(observation[None])[0].tolist()
    body = {"observations": [plain(observation)] * 2_000, "epsilon": 0.6, "seed": 1}
    found = spaced.post(f"/models/{model}/act", body).json()
    share = np.mean([action == greedy for action in found["actions"]])
    assert share == pytest.approx(0.4 + 0.6 / 24, abs=0.04)
    assert {round(each, 6) for each in found["propensity"]} == {0.025, 0.425}
    for component, mask in ((0, [0] * 3 + [1] * 6), (1, [1] * 3 + [0] * 2 + [1] * 4)):
        refused = spaced.post(f"/models/{model}/act", {"observation": plain(observation), "action_mask": mask})
        assert refused.status_code == 422
        assert f"masks every value of component {component}, entries" in refused.json()["detail"]
    refused = spaced.post(f"/models/{model}/act", {"observation": plain(observation), "action_mask": [True] * 24})
    assert "a list of 9 booleans (or 0 and 1), for the values of its 3 components" in refused.json()["detail"]


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


@pytest.mark.parametrize("model", ["nested", "branches"])
def test_actions_are_counted_by_index(spaced: Server, policy: Policy, model: str) -> None:
    """A joint action is counted by its index; one that branches by its Q-values, one a component, on every path."""
    observation, space = observe(model), ACTION_SPACES[model]
    best = space.best(policy.q_values(OBSERVATION_SPACES[model].flatten(observation)[None]))
    names = np.ravel(space.q_positions(best)).tolist()

    def counts() -> list[float]:
        return [spaced.metric("dqn_actions_total", model=model, version="1", action=str(name)) for name in names]

    before = counts()
    spaced.post(f"/models/{model}/act", {"observation": plain(observation)})
    spaced.post(f"/models/{model}/act", {"observations": [plain(observation)] * 2})
    with stream(spaced, f"/models/{model}/act/stream", JSON) as opened:
        opened.ask(observation=plain(observation))
    assert counts() == [count + 4 for count in before]


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
    assert known["example_action"] == actions.action(np.zeros_like(some_indices(actions)[0])).tolist()
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
