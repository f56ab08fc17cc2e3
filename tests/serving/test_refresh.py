"""Refresh: new champions, bad champions, repositories that disappear, and versions that requests name."""

import shutil

import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import CARTPOLE_WEIGHTS, draft, linear_onnx, publish_discrete, publish_linear
from dqn_testing.server import Server, running_server, wait_until

pytestmark = pytest.mark.slow

OBSERVATION = {"observation": [0, 0, 0, 0]}


def served(server: Server) -> int:
    """The version that answers now."""
    return int(server.post("/act", OBSERVATION).json()["version"])


def point(store: ModelRepository, content: str) -> None:
    """Writes the champion alias without any check, as a broken tool would."""
    (store.root / "cartpole/aliases/champion").write_text(content)


def failures(server: Server) -> float:
    """How often a refresh failed."""
    return server.metric("dqn_model_refreshes_total", outcome="failure")


def test_new_champion_is_served_by_itself(empty: ModelRepository) -> None:
    """A promotion by another process is picked up, logged with both versions and counted."""
    publish_linear(empty, promote=True)
    with running_server(empty) as server:
        server.wait_ready()
        publish_linear(empty, bias=1.0, promote=True)
        line = server.wait_log("refreshed", model="cartpole", version=2)
        assert line["previous"] == 1
        assert served(server) == 2
        assert server.metric("dqn_model_refreshes_total", outcome="success") == 2


def test_bad_champion_changes_nothing_but_the_counter(empty: ModelRepository) -> None:
    """A damaged, unusable or missing champion is counted and logged once, and the old one stays in service."""
    publish_linear(empty, promote=True)
    for _ in range(4):
        publish_linear(empty)
    (empty.root / "cartpole/2/model.onnx").write_bytes(b"damaged")
    (empty.root / "cartpole/3/model.onnx").unlink()
    (empty.root / "cartpole/4/manifest.json").write_text("{")
    wrong = linear_onnx(CARTPOLE_WEIGHTS[:, [0, 1, 1]])
    empty.publish(draft(), {"model.onnx": wrong})  # version 6: three actions, the manifest says two
    with running_server(empty) as server:
        server.wait_ready()
        for count, content in enumerate(["2\n", "3\n", "4\n", "6\n", "77\n", "rubbish\n", ""], start=1):
            point(empty, content)
            wait_until(lambda count=count: failures(server) == count, 20, f"failure {count}")  # type: ignore[misc]
            assert served(server) == 1
            assert server.get("/readyz").status_code == 200
        errors = [record for record in server.records if record["event"] == "refresh failed"]
        assert len(errors) == 7
        assert all(record["still_served"] == 1 and record["detail"] for record in errors)
        point(empty, "5\n")
        server.wait_log("refreshed", version=5)
        assert failures(server) == 7


def test_repaired_champion_is_served_after_a_while(empty: ModelRepository) -> None:
    """A champion that failed is retried, so one that failed for a temporary reason is served eventually."""
    publish_linear(empty, promote=True)
    publish_linear(empty, bias=1.0)
    file = empty.root / "cartpole/2/model.onnx"
    content = file.read_bytes()
    file.write_bytes(b"not yet copied")
    with running_server(empty) as server:
        server.wait_ready()
        point(empty, "2\n")
        server.wait_log("refresh failed", champion=2)
        file.write_bytes(content)
        server.wait_log("refreshed", version=2)
        assert failures(server) == 1


def test_repository_that_disappears_is_survived(empty: ModelRepository) -> None:
    """Without its repository the server keeps serving; once it is back, the next champion is served."""
    publish_linear(empty, promote=True)
    publish_linear(empty, bias=1.0)
    away = empty.root.with_name("away")
    with running_server(empty) as server:
        server.wait_ready()
        empty.root.rename(away)
        looks = server.metric("dqn_request_duration_seconds_count", endpoint="/readyz")
        assert looks > 0
        empty.root.write_text("a file where the directory was")
        for _ in range(20):
            assert served(server) == 1
            assert server.get("/readyz").status_code == 200
            assert server.get("/models/cartpole").json()["champion"] == 1
            assert server.get("/models").status_code == 200
        assert server.get("/models/cartpole/versions/1").status_code == 404
        empty.root.unlink()
        away.rename(empty.root)
        empty.promote("cartpole", 2)
        server.wait_log("refreshed", version=2)


def test_champion_that_is_removed_is_still_served(empty: ModelRepository) -> None:
    """Removing the alias or the whole model from the disk does not take it from memory."""
    publish_linear(empty, promote=True)
    with running_server(empty) as server:
        server.wait_ready()
        shutil.rmtree(empty.root / "cartpole")
        publish_linear(empty, "other", promote=True)
        server.wait_log("refreshed", model="other")  # so it has polled since
        assert served(server) == 1


def test_damaged_alias_hides_nothing_else(empty: ModelRepository) -> None:
    """An unreadable alias next to the champion does not prevent a refresh."""
    publish_linear(empty, promote=True)
    publish_linear(empty, bias=1.0)
    with running_server(empty) as server:
        server.wait_ready()
        (empty.root / "cartpole/aliases/challenger").write_text("rubbish")
        empty.promote("cartpole", 2)
        server.wait_log("refreshed", version=2)


def test_starting_with_a_bad_champion(empty: ModelRepository) -> None:
    """A server whose only champion is damaged starts, says why it is not ready, and serves the next good one."""
    publish_linear(empty, promote=True)
    publish_linear(empty)
    (empty.root / "cartpole/1/model.onnx").write_bytes(b"damaged")
    with running_server(empty) as server:
        ready = server.get("/readyz")
        assert ready.status_code == 503
        assert "differs from what was published" in ready.json()["detail"]
        assert server.post("/act", OBSERVATION).status_code == 503
        empty.promote("cartpole", 2)
        server.wait_ready()
        assert served(server) == 2


def test_few_named_versions_stay_loaded(empty: ModelRepository) -> None:
    """Besides the champion, at most max_loaded_versions versions are in memory; the least recently used is evicted."""
    for _ in range(5):
        publish_linear(empty)
    empty.promote("cartpole", 1)

    def loaded() -> object:
        return server.get("/models/cartpole").json()["loaded_versions"]

    with running_server(empty, max_loaded_versions=2) as server:
        server.wait_ready()
        for version in (2, 3, 2, 4):
            assert server.post("/act", OBSERVATION | {"version": version}).json()["version"] == version
        assert loaded() == [1, 2, 4]
        assert server.metric("dqn_model_info") == 3
        assert server.metric("dqn_actions_total", version="3") == 0
        assert server.post("/act", OBSERVATION | {"version": 3}).json()["version"] == 3
        assert loaded() == [1, 3, 4]
        empty.promote("cartpole", 4)
        server.wait_log("refreshed", version=4)
        assert loaded() == [3, 4]
        assert server.post("/act", OBSERVATION | {"version": 1}).json()["version"] == 1
        assert loaded() == [1, 3, 4]


def test_same_number_with_other_bytes(empty: ModelRepository) -> None:
    """A model that was removed and published again is noticed, logged and served, by number and by alias."""

    def q_value(version: int | str) -> float:
        return float(server.post("/q-values", {**OBSERVATION, "version": version}).json()["q_values"][0])

    for _ in range(2):
        publish_linear(empty, promote=True)
    with running_server(empty) as server:
        server.wait_ready()
        before = {version: q_value(version) for version in (1, 2, "champion")}
        old = server.metric("dqn_model_info", sha256=empty.manifest("cartpole", 1).files["model.onnx"].sha256)
        shutil.rmtree(empty.root / "cartpole")
        for _ in range(2):
            publish_linear(empty, bias=5.0)
        empty.promote("cartpole", 2)
        for number in (1, 2):
            server.wait_log("version replaced", model="cartpole", version=number)
        for version, value in before.items():
            wait_until(lambda value=value, version=version: q_value(version) == value + 5, 20, "served")  # type: ignore[misc]
        new = empty.manifest("cartpole", 1).files["model.onnx"].sha256
        assert (old, server.metric("dqn_model_info", sha256=new)) == (2, 2)


def test_same_number_with_another_environment(empty: ModelRepository) -> None:
    """A model with other shapes and more actions replaces the one with the same name and number."""
    publish_linear(empty, "lake", promote=True)
    with running_server(empty) as server:
        server.wait_ready()
        assert server.post("/models/lake/act", OBSERVATION).status_code == 200
        shutil.rmtree(empty.root / "lake")
        publish_discrete(empty)
        server.wait_log("version replaced", model="lake", version=1)
        wait_until(lambda: server.post("/models/lake/act", {"observation": 3}).status_code == 200, 20, "served")
        assert server.metric("dqn_actions_total", model="lake", version="1") == 2
