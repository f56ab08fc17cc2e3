"""Requests of one turn of the event loop share a run, without affecting one another."""

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from dqn_models.policy import Policy
from dqn_models.repository import ModelRepository
from dqn_serving.api.act import ActCalls
from dqn_serving.api.oip.infer import InferCall
from dqn_serving.inference.batcher import MAX_BATCH
from dqn_serving.problems import Answer
from dqn_serving.services import Services
from dqn_serving.settings import read_settings

RIGHT, LEFT = [0.1, 0.2, 0.3, 0.4], [-0.5, 0.1, -0.3, 0.2]
OVERFLOWING = [0.0, 0.0, 3e38, 3e38]


@pytest.fixture
def services(repository: ModelRepository, monkeypatch: pytest.MonkeyPatch) -> Services:
    """The parts of a server with every model loaded; `policy_runs` notes the batch sizes of its runs."""
    assembled = Services(read_settings(["--repository", str(repository.root)]))
    asyncio.run(assembled.refresher.poll())
    run = Policy.q_values

    def noted_run(policy: Policy, observations: Any) -> Any:
        policy_runs.append(len(observations))
        return run(policy, observations)

    policy_runs.clear()
    monkeypatch.setattr(Policy, "q_values", noted_run)
    return assembled


policy_runs: list[int] = []


def rejected(services: Services) -> dict[str, float]:
    """How many requests were refused, by reason."""
    return {name[-1]: values[0] for name, values in services.segment.entries() if name[0] == "observations_rejected"}


def in_one_turn(services: Services, *bodies: dict[str, Any], path: str = "/act") -> list[Any]:
    """The answers to requests that arrive together."""
    answers: dict[int, Answer] = {}

    async def turn() -> None:
        route = ActCalls(services).find(path)
        assert route is not None
        for index, body in enumerate(bodies):
            content = json.dumps(body).encode()
            assert route.begin({}, content, partial(answers.__setitem__, index))
        assert len(answers) == len(bodies) // MAX_BATCH * MAX_BATCH
        await asyncio.sleep(0)

    asyncio.run(turn())
    return [json.loads(answers[index].body) for index in range(len(bodies))]


def test_requests_of_a_turn_share_a_run(services: Services) -> None:
    """Three requests that arrived together are one run of three, and each gets its own answer."""
    found = in_one_turn(services, {"observation": RIGHT}, {"observation": LEFT}, {"observation": RIGHT})
    assert [answer["action"] for answer in found] == [1, 0, 1]
    assert policy_runs == [3]
    measures = services.registry.get("cartpole").measures
    assert measures.inference.buckets()[-1] == ("+Inf", 1)
    assert measures.batch_size.total == 3
    assert services.registry.get("cartpole").require_champion().action_counts.tolist() == [1, 2]


def test_no_run_is_too_large(services: Services) -> None:
    """Hundreds of requests in one turn do not all wait for one another."""
    found = in_one_turn(services, *[{"observation": RIGHT}, {"observation": LEFT}] * 150)
    assert [answer["action"] for answer in found] == [1, 0] * 150
    assert policy_runs == [MAX_BATCH, MAX_BATCH, 300 - 2 * MAX_BATCH]


def test_versions_do_not_mix(services: Services) -> None:
    """A pinned version that is in memory runs in the same turn, in a separate run."""
    cartpole = services.registry.get("cartpole")
    asyncio.run(services.loader.select(cartpole, 2))
    bodies = ({"observation": RIGHT}, {"observation": RIGHT, "version": 2}, {"observation": LEFT})
    found = in_one_turn(services, *bodies, path="/q-values")
    assert [answer["version"] for answer in found] == [1, 2, 1]
    assert sorted(policy_runs[-2:]) == [1, 2]
    assert found[1]["q_values"] == pytest.approx([value + 1.0 for value in found[0]["q_values"]], rel=1e-5)


def test_other_requests_change_no_answer(services: Services) -> None:
    """Seeds, masks and epsilons give the same answers alone and among others."""
    options: list[dict[str, Any]] = [
        {},
        {"action_mask": [True, False]},
        *({"epsilon": 0.7, "seed": seed} for seed in range(20)),
        {"epsilon": 1.0, "seed": 3, "action_mask": [False, True]},
    ]
    bodies = [{"observation": observation, **option} for observation in (RIGHT, LEFT) for option in options]
    alone = [in_one_turn(services, body)[0] for body in bodies]
    assert in_one_turn(services, *bodies) == alone
    assert policy_runs == [*[1] * len(bodies), len(bodies)]


def test_infer_requests_join(services: Services) -> None:
    """An infer request for one observation runs with the native ones of its turn; one for two runs alone, at once."""
    answers: list[Answer] = []
    call = InferCall(services)
    native, infer = ActCalls(services).find("/act"), call.route("/v2/models/cartpole/infer")
    assert native is not None
    assert infer is not None

    def body(*rows: list[float], **parameters: Any) -> bytes:
        tensor = {"name": "observation", "shape": [len(rows), 4], "datatype": "FP32", "data": rows}
        return json.dumps({"inputs": [tensor], "parameters": parameters}).encode()

    async def turn() -> None:
        assert native.begin({}, json.dumps({"observation": RIGHT}).encode(), answers.append)
        for content in (body(LEFT), body(OVERFLOWING), body(RIGHT, epsilon=1.0, seed=3), body(LEFT, RIGHT)):
            assert infer.begin({"headers": []}, content, answers.append)
        assert policy_runs == [2]
        await asyncio.sleep(0)

    asyncio.run(turn())
    assert policy_runs == [2, 4]
    two, act, left, overflow, explored = (json.loads(answer.body) for answer in answers)
    assert (two["outputs"][1]["data"], act["action"], left["outputs"][1]["data"]) == ([0, 1], 1, [0])
    assert [answer.status for answer in answers] == [200, 200, 200, 422, 200]
    assert list(overflow) == ["error"]
    (same,) = in_one_turn(services, {"observation": RIGHT, "epsilon": 1.0, "seed": 3})
    assert explored["outputs"][1]["data"] == [same["action"]]
    assert explored["outputs"][2]["data"] == [same["propensity"]]
    (counted,) = call.statistics.documents("cartpole")
    assert (counted["inference_count"], counted["inference_stats"]["fail"]["count"]) == (4, 1)


def test_overflow_affects_one_request_only(services: Services) -> None:
    """A request whose Q-values overflow is refused and counted; the others in its batch are answered."""
    found = in_one_turn(services, {"observation": RIGHT}, {"observation": OVERFLOWING}, {"observation": LEFT})
    assert [answer.get("action") for answer in found] == [1, None, 0]
    assert (found[1]["status"], found[1]["reason"]) == (422, "overflow")
    assert rejected(services) == {"overflow": 1}


def test_batches_run_at_once(services: Services) -> None:
    """A batch is answered by one run before the turn ends, whether or not its Q-values overflow."""
    answers: list[Answer] = []
    route = ActCalls(services).find("/q-values")
    assert route is not None
    for rows in ([RIGHT, LEFT, RIGHT], [RIGHT, OVERFLOWING]):
        assert route.begin({}, json.dumps({"observations": rows}).encode(), answers.append)
    assert [json.loads(answer.body).get("actions") for answer in answers] == [[1, 0, 1], None]
    assert [answer.status for answer in answers] == [200, 422]
    assert policy_runs == [3, 2]
    assert rejected(services) == {"overflow": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"observation": [0, 0, 0]}',
        b'{"observations": [[0, 0, 0]]}',
        b'{"observations": []}',
        b'{"observation": [0, 0, 0, 0], "version": 3}',
        b'{"observation": [0, 0, 0, 0], "version": "nobody"}',
        b'{"observation": [0, 0, 0, 0], "action_mask": [false, false]}',
        b'{"observation": [0, 0, 0, 0], "observations": [[0, 0, 0, 0]]}',
    ],
)
def test_anything_else_is_not_accepted(services: Services, body: bytes) -> None:
    """A faulty request, or one for a version that is not loaded, is left to the slow path, and not counted."""
    route = ActCalls(services).find("/act")
    assert route is not None
    assert not route.begin({}, body, lambda _: None)
    assert rejected(services) == {}
    assert not policy_runs
