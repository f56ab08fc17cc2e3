"""`--workers N`: one port, consistent metrics, and no worker left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from dqn_models.repository import ModelRepository
from dqn_serving.telemetry.shared_memory import SharedMetrics
from dqn_testing.repositories import publish_linear
from dqn_testing.server import Server, running_server, wait_until

pytestmark = pytest.mark.slow

BODY = {"observation": [0.1, 0.2, 0.3, 0.4]}


@pytest.fixture
def store(empty: ModelRepository) -> ModelRepository:
    """`cartpole` with version 1, the champion, and 2."""
    publish_linear(empty, promote=True)
    publish_linear(empty, bias=1.0)
    return empty


def wait_workers(server: Server, count: int) -> list[int]:
    """The process ids of the workers, once this many have been started and all serve."""

    def processes() -> list[int]:
        return [record["process"] for record in server.records if record["event"] == "worker started"]

    def serving() -> int:
        return sum(record["event"] == "serving" for record in server.records)

    wait_until(lambda: len(processes()) == count and serving() == count, 60, f"{count} workers")
    return processes()


def is_alive(process: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def acted(server: Server) -> set[float]:
    """The number of act calls in /metrics, from whichever worker answers."""
    return {server.metric("dqn_requests_total", endpoint="/act", status="200") for _ in range(10)}


def test_metrics_are_right_whichever_worker_answers(store: ModelRepository) -> None:
    """Every scrape counts the requests, actions and runs of all workers."""
    with running_server(store, workers=3) as server:
        wait_workers(server, 3)
        for _ in range(60):
            assert server.post("/act", BODY).status_code == 200
        assert acted(server) == {60}
        for _ in range(10):
            assert server.metric("dqn_actions_total", version="1", action="1") == 60
            assert server.metric("dqn_request_duration_seconds_count", endpoint="/act") == 60
            assert server.metric("dqn_inference_batch_size_sum", model="cartpole") == 60
            assert server.metric("dqn_model_info", version="1") == 1


def test_killed_worker_is_replaced_and_its_counts_stay(store: ModelRepository) -> None:
    """After kill -9 of one and then the other the server answers, and no counter has decreased."""
    with running_server(store, workers=2) as server:
        first = wait_workers(server, 2)
        for _ in range(40):
            server.post("/act", BODY)
        for killed in first:
            os.kill(killed, signal.SIGKILL)
            server.wait_log("worker died", process=killed, status=-signal.SIGKILL)
        replacements = wait_workers(server, 4)[2:]
        assert all(is_alive(process) for process in replacements)
        assert acted(server) == {40}
        for _ in range(40):
            assert server.post("/act", BODY).status_code == 200
        assert acted(server) == {80}


def test_kill_under_load_does_not_affect_other_workers(store: ModelRepository) -> None:
    """While workers are killed, only requests on their connections fail, and each answered one is counted."""
    with running_server(store, workers=2) as server:
        processes = wait_workers(server, 2)
        host, port = server.url.removeprefix("http://").split(":")
        answered = [0] * 4
        is_over = threading.Event()

        def client(index: int) -> None:
            while not is_over.is_set():
                connection = HTTPConnection(host, int(port), timeout=20)
                try:
                    for _ in range(50):
                        connection.request("POST", "/act", json.dumps(BODY))
                        assert json.loads(connection.getresponse().read())["action"] == 1
                        answered[index] += 1
                except (OSError, HTTPException):  # the killed worker's connections are lost
                    pass
                finally:
                    connection.close()

        clients = [threading.Thread(target=client, args=(index,)) for index in range(4)]
        for thread in clients:
            thread.start()
        for killed in processes:
            enough = sum(answered) + 400
            wait_until(lambda enough=enough: sum(answered) >= enough, 20, "answering")  # type: ignore[misc]
            os.kill(killed, signal.SIGKILL)
            server.wait_log("worker died", process=killed)
        wait_workers(server, 4)
        is_over.set()
        for thread in clients:
            thread.join(20)
        (counted,) = acted(server)
        assert sum(answered) <= counted <= sum(answered) + 2 * len(clients)  # those killed between count and answer


def test_promotion_reaches_every_worker(store: ModelRepository) -> None:
    """Each worker refreshes itself, and then no scrape shows the replaced version."""
    with running_server(store, workers=2) as server:
        wait_workers(server, 2)
        store.promote("cartpole", 2)

        def versions() -> set[int]:
            return {server.post("/act", BODY).json()["version"] for _ in range(20)}

        wait_until(lambda: versions() == {2}, 20, "refreshed")
        wait_until(lambda: 'version="1"' not in server.get("/metrics").text, 20, "forgotten")
        assert all('version="1"' not in server.get("/metrics").text for _ in range(10))


def test_sigterm_stops_all(store: ModelRepository) -> None:
    """SIGTERM to the supervisor stops every worker in the usual way, and then the supervisor, with status 0."""
    with running_server(store, workers=2) as server:
        processes = wait_workers(server, 2)
        assert server.stop() == 0
        assert not any(is_alive(process) for process in processes)
        assert [record["event"] for record in server.records].count("stopped") == 2


def test_ctrl_c_stops_all(store: ModelRepository) -> None:
    """Ctrl-C stops every worker, with status 130 and no traceback."""
    with running_server(store, workers=2, drain_seconds=60) as server:
        processes = wait_workers(server, 2)
        assert server.stop(signal.SIGINT) == 130
        assert not any(is_alive(process) for process in processes)
        assert server.records[-1]["event"] == "Interrupted."
        assert {record.get("level", "info") for record in server.records} == {"info"}


def test_workers_do_not_outlive_a_killed_supervisor(store: ModelRepository) -> None:
    """If the supervisor is killed, its workers stop as with SIGTERM."""
    with running_server(store, workers=2) as server:
        processes = wait_workers(server, 2)
        server.process.kill()
        wait_until(lambda: not any(is_alive(process) for process in processes), 20, "ended")


def test_port_of_another_server_is_not_shared(store: ModelRepository) -> None:
    """A second server with workers reports that the port is in use, like one without."""
    with running_server(store, workers=2) as server:
        port = int(server.url.rpartition(":")[2])
        with running_server(store, workers=2, port=port) as second:
            assert second.process.wait(20) == 1
            second.wait_log(
                f"error: Cannot listen on 127.0.0.1 port {port}: Address already in use. "
                "Choose another with --port or --host."
            )


@pytest.mark.parametrize(
    ("death", "reason"),
    [
        ("raise RuntimeError('no such device')", "RuntimeError: no such device"),
        ("os._exit(3)", "it ended with status 3"),
        ("return", "it ended with status 0"),
    ],
)
def test_worker_that_cannot_start_stops_the_server(death: str, reason: str) -> None:
    """If a worker exits before it has served, the supervisor stops the others and says why, with status 1."""
    script = f"""
import os, signal, sys
from dqn_models import cli_support
from dqn_serving.process.sockets import listen_together
from dqn_serving.process.supervisor import Supervisor

def work(listener, worker, note_start):
    if worker == 1:
        {death}
    note_start()
    signal.pause()

sys.exit(cli_support.run(Supervisor(listen_together("127.0.0.1", 0, 2), work).run))
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == f"error: Worker 1 could not start: {reason}. The log may say more."


def test_segment_continues_where_it_was() -> None:
    """A segment that is opened again has every name and value; totals are over all segments."""
    shared = SharedMetrics(2)
    values = shared.segment(0).values(("requests", "/act", "200"), 1)
    values[0] += 2
    shared.segment(0).values(("inference", "käfer"), 3)[2] = 0.5
    again = shared.segment(0)
    again.values(("requests", "/act", "200"), 1)[0] += 1
    shared.segment(1).values(("requests", "/act", "200"), 1)[0] += 4
    assert values[0] == 3
    assert shared.totals() == {("requests", "/act", "200"): [7], ("inference", "käfer"): [0, 0, 0.5]}


def test_full_segment_still_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a segment has no room, a value is not shared, and nothing fails."""
    monkeypatch.setattr("dqn_serving.telemetry.shared_memory.SEGMENT_BYTES", 64)
    shared = SharedMetrics()
    segment = shared.segment(0)
    segment.values(("a",), 1)[0] = 1
    lost = segment.values(("b",), 4)
    lost[3] += 1
    assert segment.values(("b",), 4)[3] == 1
    assert shared.totals() == {("a",): [1]}
