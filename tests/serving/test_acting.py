"""`/act` and `/q-values`: the answers to valid requests."""

from typing import Any

import numpy as np
import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import draft, linear_onnx
from dqn_testing.server import Server, running_server

OBSERVATIONS = [[0.1, 0.2, 0.3, 0.4], [-0.5, 0.1, -0.3, 0.2], [0.0, 0.0, 0.0, 0.0]]
LEFT, RIGHT = [-0.5, 0.1, -0.3, 0.2], [0.1, 0.2, 0.3, 0.4]


def act(server: Server, path: str = "/act", **body: Any) -> Any:
    """The answer to a request that must be valid."""
    response = server.post(path, body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def test_act_answers_the_documented_object(server: Server) -> None:
    """One observation gets its action, the model and the version, and nothing else."""
    assert act(server, observation=RIGHT) == {"action": 1, "model": "cartpole", "version": 1}


def test_q_values_are_those_of_the_onnx_file(server: Server, repository: ModelRepository) -> None:
    """Q-values over HTTP are, as float32, exactly those of the file run locally."""
    q_values, actions = repository.load_policy("cartpole", 1).run(np.array(OBSERVATIONS, np.float32))
    batch = act(server, "/q-values", observations=OBSERVATIONS)
    single = [act(server, "/q-values", observation=observation) for observation in OBSERVATIONS]
    assert np.array_equal(np.array(batch["q_values"], np.float32), q_values)
    assert np.allclose(np.array([answer["q_values"] for answer in single]), q_values, rtol=1e-6)
    assert batch["actions"] == [answer["action"] for answer in single] == actions.tolist()
    assert set(batch) == {"q_values", "actions", "model", "version"}


def test_batch_answers_in_order(server: Server) -> None:
    """A batch gets its actions in the order of its observations."""
    assert act(server, observations=[RIGHT, LEFT, RIGHT]) == {
        "actions": [1, 0, 1],
        "model": "cartpole",
        "version": 1,
    }


def test_named_model_answers(server: Server) -> None:
    """A model named in the path answers; integers are valid observations of a Discrete space."""
    assert act(server, "/models/lake/act", observation=5) == {"action": 1, "model": "lake", "version": 1}
    assert act(server, "/models/lake/act", observations=[0, 15])["actions"] == [0, 3]
    assert act(server, "/models/lake/q-values", observation=2)["q_values"] == [0.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize(("version", "bias"), [(1, 0.0), (2, 1.0), (3, 2.0), ("champion", 0.0), ("challenger", 1.0)])
def test_version_is_answered_by_that_version(server: Server, version: int | str, bias: float) -> None:
    """A version requested by number or alias answers, whichever is champion."""
    answer = act(server, "/q-values", observation=[0, 0, 0, 0], version=version)
    assert answer["q_values"] == [bias, bias]
    assert answer["version"] == int(bias) + 1


def test_integers_are_valid_elements(server: Server) -> None:
    """JSON integers are numbers: [0, 1, 2, 3] is an observation."""
    assert act(server, observation=[0, 1, 2, 3])["action"] == 1


def test_first_action_wins_ties(server: Server) -> None:
    """If Q-values are equal, the first action is taken."""
    assert act(server, observation=[0, 0, 0, 0])["action"] == 0


def test_mask_excludes_actions(server: Server) -> None:
    """The greedy action is the best of the allowed ones, alone and in batches with one mask or one each."""
    assert act(server, observation=RIGHT, action_mask=[True, False])["action"] == 0
    assert act(server, observation=RIGHT, action_mask=[True, True])["action"] == 1
    assert act(server, observations=[RIGHT, LEFT], action_mask=[False, True])["actions"] == [1, 1]
    masks = [[True, False], [False, True]]
    assert act(server, observations=[RIGHT, LEFT], action_mask=masks)["actions"] == [0, 1]
    assert act(server, "/q-values", observation=RIGHT, action_mask=[True, False])["q_values"][1] > 0


def test_actions_begin_at_the_start_of_the_space(empty: ModelRepository) -> None:
    """With Discrete(2, start=5) the answers are 5 and 6; mask entry i, like metrics, refers to action start + i."""
    empty.publish(draft(start=5), {"model.onnx": linear_onnx(start=5)})
    empty.promote("cartpole", 1)
    with running_server(empty) as server:
        server.wait_ready()
        assert act(server, observation=RIGHT)["action"] == 6
        assert act(server, observations=[RIGHT, LEFT])["actions"] == [6, 5]
        assert act(server, observation=RIGHT, action_mask=[True, False])["action"] == 5
        assert act(server, "/q-values", observation=RIGHT)["action"] == 6
        explored = act(server, observations=[RIGHT] * 64, epsilon=1.0, seed=1)["actions"]
        assert set(explored) == {5, 6}
        assert server.metric("dqn_actions_total", action="5") + server.metric("dqn_actions_total", action="6") == 69


def test_keys_may_come_escaped_and_spaced(server: Server) -> None:
    """Any valid JSON will do: escapes in names, whitespace and exponents do not matter."""
    response = server.post("/act", b'\n{ "\\u006fbservation" :\t[ 1e-1, 2E-1, 0.3e0, 4.0e-1 ] }\r\n')
    assert response.json()["action"] == 1


def test_first_model_stays_the_default(empty: ModelRepository) -> None:
    """A single model is the default, and stays so when others are published later."""
    empty.publish(draft("acrobat"), {"model.onnx": linear_onnx()})
    empty.promote("acrobat", 1)
    with running_server(empty) as server:
        server.wait_ready()
        empty.publish(draft("cartpole"), {"model.onnx": linear_onnx()})
        empty.promote("cartpole", 1)
        server.wait_log("refreshed", model="cartpole")
        assert act(server, observation=RIGHT)["model"] == "acrobat"
        assert act(server, "/models/cartpole/act", observation=RIGHT)["model"] == "cartpole"


def test_setting_chooses_the_default_model(empty: ModelRepository) -> None:
    """DQN_MODEL decides which of several models answers calls that name none."""
    for name in ("cartpole", "other"):
        empty.publish(draft(name), {"model.onnx": linear_onnx()})
        empty.promote(name, 1)
    with running_server(empty, env={"DQN_MODEL": "other"}) as server:
        server.wait_ready()
        assert act(server, observation=RIGHT)["model"] == "other"
