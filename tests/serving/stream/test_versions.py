"""Which version answers a stream: the current champion, or a pinned one."""

import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_discrete, publish_linear
from dqn_testing.server import Server, running_server, wait_until
from tests.serving.stream.client import MSGPACK, RIGHT, refusal, stream

pytestmark = pytest.mark.slow


def promote(store: ModelRepository, server: Server, version: int) -> None:
    """Makes a version the champion and waits until it is served."""
    store.promote("cartpole", version)
    wait_until(lambda: server.get("/models/cartpole").json()["champion"] == version, 20, "refreshed")


def loaded(server: Server) -> list[int]:
    """The versions of cartpole in memory."""
    found: list[int] = server.get("/models/cartpole").json()["loaded_versions"]
    return found


def test_a_stream_follows_the_champion_or_keeps_its_version(empty: ModelRepository) -> None:
    """A refresh is announced before its first answer; a pinned stream keeps its version, which stays loaded."""
    publish_linear(empty, promote=True)
    publish_linear(empty, bias=1.0)
    with running_server(empty, max_loaded_versions=1) as server:
        server.wait_ready()
        with (
            stream(server) as follows,
            stream(server, "/act/stream?pin=true", MSGPACK) as keeps,
            stream(server, "/act/stream?version=2&q_values=true") as named,
        ):
            hellos = [(client.hello["version"], client.hello["pinned"]) for client in (follows, keeps, named)]
            assert hellos == [(1, False), (1, True), (2, True)]
            assert loaded(server) == [1, 2]
            promote(empty, server, 2)
            told = follows.ask(observation=RIGHT)
            assert (told["type"], told["version"], told["model"]) == ("version", 2, "cartpole")
            assert told["action_space"] == follows.hello["action_space"]
            assert follows.receive()["version"] == 2
            assert follows.ask(observation=RIGHT)["type"] == "action"
            assert keeps.ask(observation=RIGHT)["version"] == 1
            assert named.ask(observation=RIGHT)["version"] == 2
            assert loaded(server) == [1, 2]
            assert server.metric("dqn_actions_total", version="1") == 1
            promote(empty, server, 1)
            assert keeps.ask(observation=RIGHT)["version"] == 1
            assert named.ask(observation=RIGHT)["q_values"] == pytest.approx([1.0, 1.69])
        assert server.post("/act", {"observation": RIGHT, "version": 2}).json()["version"] == 2
        assert server.metric("dqn_streams") == 0


def test_streams_hold_a_bounded_number_of_versions(empty: ModelRepository) -> None:
    """Beyond max_loaded_versions, a stream that would pin another is refused; closing one makes room."""
    for _ in range(4):
        publish_linear(empty)
    empty.promote("cartpole", 1)
    with running_server(empty, max_loaded_versions=2) as server:
        server.wait_ready()
        with stream(server, "/act/stream?version=2"):
            with stream(server, "/act/stream?version=3"), stream(server, "/act/stream?version=3"):
                assert refusal(server, "/act/stream?version=4")["status"] == 503
                assert server.post("/act", {"observation": RIGHT, "version": 4}).json()["version"] == 4
                assert loaded(server) == [1, 2, 3]
            with stream(server, "/act/stream?version=4") as client:
                assert client.ask(observation=RIGHT)["version"] == 4
            assert 2 in loaded(server)


def test_a_champion_of_another_shape(empty: ModelRepository) -> None:
    """If the new champion has other spaces, the stream says so, and refuses what fitted the old one."""
    publish_linear(empty, promote=True)
    publish_discrete(empty, "cartpole")
    empty.promote("cartpole", 1)
    with running_server(empty) as server:
        server.wait_ready()
        with stream(server) as client:
            assert client.ask(observation=RIGHT)["action"] == 1
            promote(empty, server, 2)
            told = client.ask(observation=RIGHT)
            assert (told["type"], told["observation_space"]["type"]) == ("version", "Discrete")
            refused = client.receive()
            assert (refused["type"], refused["reason"]) == ("error", "type")
            assert "cartpole version 2 expects" in refused["detail"]
            assert client.ask(observation=6) == {"type": "action", "action": 2, "version": 2}


def test_refreshes_under_load_never_mix(empty: ModelRepository) -> None:
    """Through eight promotions every answer of a busy stream has the version that was announced last."""
    for bias in (0.0, 1.0):
        publish_linear(empty, bias=bias)
    empty.promote("cartpole", 1)
    with running_server(empty) as server:
        server.wait_ready()
        with stream(server, "/act/stream?q_values=true") as client:
            version, seen = client.hello["version"], 0
            for number in range(8):
                empty.promote("cartpole", 1 + (number + 1) % 2)
                target = 1 + (number + 1) % 2
                while version != target:
                    for _ in range(50):
                        client.send(observation=[0, 0, 0, 0])
                    answers = 0
                    while answers < 50:
                        frame = client.receive()
                        if frame["type"] == "version":
                            version = frame["version"]
                            continue
                        answers += 1
                        assert frame["version"] == version
                        assert frame["q_values"] == [version - 1.0] * 2
                    seen += answers
            assert seen >= 400
