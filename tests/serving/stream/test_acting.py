"""Observations in, actions out, over a stream."""

import contextlib
from typing import Any

import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.server import Server, wait_until
from tests.serving.stream.client import JSON, LEFT, MSGPACK, RIGHT, stream

pytestmark = pytest.mark.slow

BOTH = pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])


@BOTH
def test_hello_and_answers(server: Server, subprotocol: str) -> None:
    """The first frame has model, version and spaces; each observation gets its action and nothing else."""
    environment = server.get("/models/cartpole/versions/1").json()["environment"]
    with stream(server, "/act/stream", subprotocol) as client:
        assert client.connection.subprotocol == subprotocol
        assert client.hello == {
            "type": "hello",
            "model": "cartpole",
            "version": 1,
            "pinned": False,
            "observation_space": environment["observation_space"],
            "action_space": environment["action_space"],
        }
        for observation, action in ((RIGHT, 1), (LEFT, 0), (RIGHT, 1)):
            assert client.ask(observation=observation) == {"type": "action", "action": action, "version": 1}


def test_json_is_the_default(server: Server) -> None:
    """A client that names no subprotocol gets JSON; of several, the first known one is used."""
    with stream(server) as client:
        assert client.connection.subprotocol is None
        assert client.ask(observation=LEFT)["action"] == 0
    with stream(server, "/act/stream", "nonsense", MSGPACK, JSON) as client:
        assert client.connection.subprotocol == MSGPACK


@BOTH
@pytest.mark.parametrize("identity", [0, -(2**63), 2**64 - 1, "", "a" * 64, "ö\n"])
def test_id_is_sent_back(server: Server, subprotocol: str, identity: Any) -> None:
    """An id is returned with its answer, whether that is an action or an error."""
    with stream(server, "/act/stream", subprotocol) as client:
        assert client.ask(observation=RIGHT, id=identity) == {
            "type": "action",
            "action": 1,
            "version": 1,
            "id": identity,
        }
        refused = client.ask(observation=[1], id=identity)
        assert (refused["type"], refused["id"]) == ("error", identity)


@BOTH
def test_options_are_those_of_http(server: Server, subprotocol: str) -> None:
    """epsilon, seed, mask and Q-values give what /q-values gives."""
    options: list[dict[str, Any]] = [
        {},
        {"action_mask": [True, False]},
        {"epsilon": 0.7, "seed": 5},
        {"epsilon": 0, "action_mask": [True, False]},
    ]
    with stream(server, "/act/stream?q_values=true", subprotocol) as client:
        for option in options:
            expected = server.post("/q-values", {"observation": RIGHT, **option}).json()
            del expected["model"]
            answer = client.ask(observation=RIGHT, **option)
            assert answer.pop("type") == "action"
            assert answer.pop("q_values") == pytest.approx(expected.pop("q_values"))
            assert answer == expected


@BOTH
def test_discrete_observations(server: Server, subprotocol: str) -> None:
    """An observation of a Discrete space is a number."""
    with stream(server, "/models/lake/act/stream", subprotocol) as client:
        assert client.hello["observation_space"]["type"] == "Discrete"
        assert [client.ask(observation=number)["action"] for number in (2, 7)] == [2, 3]


@BOTH
def test_pipelined_frames_are_answered_in_order(server: Server, subprotocol: str) -> None:
    """A thousand frames sent without waiting, valid and invalid ones, are answered one by one in order."""
    with stream(server, "/act/stream", subprotocol) as client:
        for number in range(1000):
            client.send(observation=[1] if number % 7 == 3 else (RIGHT, LEFT)[number % 2], id=number)
        for number in range(1000):
            answer = client.receive()
            expected = 422 if number % 7 == 3 else (1, 0)[number % 2]
            assert answer["id"] == number
            assert (answer["status"] if answer["type"] == "error" else answer["action"]) == expected


def test_fragments_make_a_frame(server: Server) -> None:
    """A message in fragments, with a ping between them, is one frame."""
    with stream(server) as client:
        client.connection.send(iter(['{"observation": [0.1,', " 0.2, 0.3,", " 0.4]}"]))
        assert client.receive()["action"] == 1
        assert client.connection.ping().wait(20)


def test_many_streams_share_runs(server: Server) -> None:
    """Twenty clients that send at the same time all get their answers, in fewer runs than there are frames."""
    before = server.metric("dqn_inference_batch_size_count", model="cartpole")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(stream(server)) for _ in range(20)]
        assert server.metric("dqn_streams", model="cartpole") == 20
        for client in clients:
            for _ in range(10):
                client.send(observation=RIGHT)
        for client in clients:
            assert [client.receive() for _ in range(10)] == [{"type": "action", "action": 1, "version": 1}] * 10
    assert server.metric("dqn_inference_batch_size_count", model="cartpole") - before < 200
    wait_until(lambda: server.metric("dqn_streams", model="cartpole") == 0, 20, "closed")


def test_frames_are_counted(server: Server, repository: ModelRepository) -> None:
    """Handshakes, actions and refusals count under the stream's endpoint, as actions and as refusals."""
    assert repository.models() == ["cartpole", "lake"]
    endpoint = "/models/{model}/act/stream"

    def counted() -> list[float]:
        requests = [server.metric("dqn_requests_total", endpoint=endpoint, status=status) for status in _STATUSES]
        actions = server.metric("dqn_actions_total", model="lake", version="1")
        rejected = server.metric("dqn_observations_rejected_total", model="lake")
        runs = server.metric("dqn_inference_batch_size_sum", model="lake")
        return [*requests, actions, rejected, runs]

    before = counted()
    with stream(server, "/models/lake/act/stream") as client:
        for number in (1, 2, 3):
            assert client.ask(observation=number)["action"] == number
        assert client.ask(observation=99)["reason"] == "out_of_range"
        assert client.ask_raw(b"x")["reason"] == "encoding"
    after = counted()
    assert [later - earlier for earlier, later in zip(before, after, strict=True)] == [1, 3, 1, 1, 3, 2, 3]


_STATUSES = ("101", "200", "422", "415")
