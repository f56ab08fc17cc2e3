"""Over many draws through each API, actions have the documented distribution, and answers its propensities."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import publish_discrete
from dqn_testing.server import Server, running_server
from tests.serving.crowd import ask_together
from tests.serving.oip.wire import LAKE, read, send
from tests.serving.stream.client import bare_stream, framed, stream

pytestmark = pytest.mark.slow

EPSILON = 0.6
MASKS = [[True, True, True, True], [True, False, False, True], [False, True, True, True], [False, False, True, False]]
GREEDY = [2, 0, 2, 2]
"""Best allowed action of the policy for observation 2, by mask: its Q-values are 0, 0, 1, 0."""
CHI_SQUARE = {1: 0.0, 2: 23.93, 3: 27.63, 4: 30.66}
"""Exceeded with probability 1e-6 by chance, by the number of actions that are possible."""

Drawn = Iterable[tuple[int, int, float]]
"""Of each draw the mask (by index), the action and the propensity."""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a policy with four actions."""
    store = ModelRepository(tmp_path_factory.mktemp("store"))
    publish_discrete(store)
    with running_server(store) as server:
        server.wait_ready()
        yield server


def batches(server: Server, draws: int) -> Drawn:
    """Batches of /act, with one mask after another."""
    rows = [index % 4 for index in range(4096)]
    body = {"observations": [2] * 4096, "action_mask": [MASKS[row] for row in rows], "epsilon": EPSILON}
    content = json.dumps(body).encode()
    for _ in range(0, draws, 4096):
        answer = server.post("/act", content).json()
        yield from zip(rows, answer["actions"], answer["propensity"], strict=True)


def singles(server: Server, draws: int) -> Drawn:
    """Requests for one observation, from many clients at a time."""
    bodies = ({"observation": 2, "action_mask": MASKS[index % 4], "epsilon": EPSILON} for index in range(draws))
    for index, answer in enumerate(ask_together(server, bodies)):
        yield index % 4, answer["action"], answer["propensity"]


def standard_protocol(server: Server, draws: int) -> Drawn:
    """Batches of the standard protocol, in binary."""
    rows = np.arange(4096) % 4
    observations, masks = np.full(4096, 2, np.int64), np.array(MASKS)[rows]
    inputs = [
        {"name": "observation", "shape": [4096], "datatype": "INT64", "parameters": {"binary_data_size": 4096 * 8}},
        {"name": "action_mask", "shape": [4096, 4], "datatype": "BOOL", "parameters": {"binary_data_size": 4096 * 4}},
    ]
    text = json.dumps({"inputs": inputs, "parameters": {"epsilon": EPSILON, "binary_data_output": True}}).encode()
    content = text + observations.tobytes() + masks.tobytes()
    for _ in range(0, draws, 4096):
        outputs = read(send(server, content, LAKE, len(text)))[1]
        yield from zip(rows.tolist(), outputs["action"].tolist(), outputs["propensity"].tolist(), strict=True)


def streamed(server: Server, draws: int) -> Drawn:
    """Frames of a stream, a thousand at a time."""
    frames = [
        framed(json.dumps({"observation": 2, "action_mask": mask, "epsilon": EPSILON}).encode()) for mask in MASKS
    ]
    with bare_stream(server) as connection, connection.makefile("rb") as answers:
        for _ in range(draws // 1000):
            connection.sendall(b"".join(frames) * 250)
            for index in range(1000):
                answer = json.loads(answers.read(answers.read(2)[1]))
                yield index % 4, answer["action"], answer["propensity"]


@pytest.mark.parametrize("door", [batches, singles, standard_protocol, streamed])
@pytest.mark.parametrize("draws", [20_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_draws_have_the_documented_distribution(lake: Server, door: Callable[[Server, int], Drawn], draws: int) -> None:
    """With each mask every allowed action has its probability, no other is taken, and the propensity is the same."""
    found: list[Counter[int]] = [Counter() for _ in MASKS]
    for row, action, propensity in door(lake, draws):
        found[row][action] += 1
        assert propensity == share(row, action)
    assert sum(counts.total() for counts in found) >= draws
    for row, mask in enumerate(MASKS):
        expected = {action: found[row].total() * share(row, action) for action in range(4) if mask[action]}
        assert set(found[row]) == set(expected)
        statistic = sum((found[row][action] - count) ** 2 / count for action, count in expected.items())
        assert statistic <= CHI_SQUARE[len(expected)]


def share(row: int, action: int) -> float:
    """The probability of an allowed action: epsilon is spread over the allowed ones, the rest is the greedy one's."""
    return EPSILON / sum(MASKS[row]) + (1.0 - EPSILON) * (action == GREEDY[row])


def test_a_seed_means_the_same_everywhere(lake: Server) -> None:
    """With the same seed the action is the same alone, in a crowd, first in a batch, in /v2 and in a stream."""
    bodies: list[dict[str, Any]] = [
        {"observation": 2, "action_mask": MASKS[seed % 3], "epsilon": 0.9, "seed": seed} for seed in range(200)
    ]
    alone = [lake.post("/act", body).json()["action"] for body in bodies]
    assert len(set(alone)) == 4
    noise: list[dict[str, Any]] = [{"observation": 1, "epsilon": 1.0}, {"observation": 3}]
    crowded = ask_together(lake, [part for body in bodies for part in (body, *noise)])[:: len(noise) + 1]
    assert [answer["action"] for answer in crowded] == alone
    with stream(lake) as client:
        assert [client.ask(**body)["action"] for body in bodies[:20]] == alone[:20]
        for body in bodies:
            client.send(**body)
        assert [client.receive()["action"] for _ in bodies] == alone
    for body, action in list(zip(bodies, alone, strict=True))[:20]:
        options = {"epsilon": body["epsilon"], "seed": body["seed"]}
        masks = [body["action_mask"], MASKS[0]]
        batch = {"observations": [2, 5], "action_mask": masks, **options}
        assert lake.post("/act", batch).json()["actions"][0] == action
        inputs = [
            {"name": "observation", "shape": [2], "datatype": "INT64", "data": [2, 5]},
            {"name": "action_mask", "shape": [2, 4], "datatype": "BOOL", "data": masks},
        ]
        outputs = read(send(lake, {"inputs": inputs, "parameters": options}, LAKE))[1]
        assert outputs["action"].tolist()[0] == action
