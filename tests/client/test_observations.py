"""Observations and masks as environments return them, in every call and stream of both clients."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dqn_models.repository import ModelRepository
from dqn_testing.repositories import SPACES, publish_box
from dqn_testing.server import Server, running_server
from tests.client.clients import open_client

Array = NDArray[Any]


@pytest.fixture(scope="module")
def plants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one policy for each dtype of observations."""
    store = ModelRepository(tmp_path_factory.mktemp("plants"))
    for dtype in SPACES:
        publish_box(store, dtype)
    with running_server(store, env={"DQN_MODEL": "float32"}) as running:
        running.wait_ready()
        yield running


FORMS: dict[str, Callable[[Array], Any]] = {
    "array": lambda array: array,
    "tolist": lambda array: array.tolist(),
    "scalars": lambda array: [list(row) for row in array],
    "tuples": lambda array: tuple(tuple(row) for row in array),
    "frame stack": deque,
    "Fortran order": np.asfortranarray,
}


@pytest.mark.parametrize("dtype", SPACES)
@pytest.mark.parametrize("form", FORMS)
def test_observations_in_every_form(kind: str, plants: Server, dtype: str, form: str) -> None:
    """An observation is accepted as the array that `env.step` returns, as its `tolist()`, and in mixed forms."""
    observation, other = np.array([[0, 1], [0, 1]], dtype), np.array([[0, 0], [1, 0]], dtype)
    give = FORMS[form]
    with open_client(kind, plants.url, model=dtype) as client:
        assert client.act(give(observation)).action == 1
        assert client.q_values(give(other)).q_values == (0.0, 0.0, 1.0)
        assert client.act_batch([give(observation), give(other)]).actions == (1, 2)
        assert client.act_batch(np.stack([observation, other])).actions == (1, 2)
        for encoding in ("msgpack", "json"):
            with client.stream(encoding=encoding) as stream:
                assert (stream.act(give(observation)).action, stream.act(give(other)).action) == (1, 2)


@pytest.mark.parametrize(
    "mask",
    [
        np.array([1, 0, 1], np.int8),
        np.array([1, 0, 1], np.int8).tolist(),
        np.array([True, False, True]),
        [np.bool_(1), np.bool_(0), np.bool_(1)],
        (True, False, True),
    ],
    ids=["int8", "tolist", "bool", "scalars", "tuple"],
)
def test_masks_in_every_form(kind: str, plants: Server, mask: Any) -> None:
    """A mask is accepted as in `info["action_mask"]` (0 and 1 in int8, Gymnasium's convention) or as booleans."""
    observation = np.array([[0.5, 1], [0, 0]], np.float32)
    with open_client(kind, plants.url) as client:
        assert client.act(observation).action == 1
        assert client.act(observation, action_mask=mask).action == 0
        assert client.q_values(observation, action_mask=mask).action == 0
        assert client.act_batch([observation] * 2, action_mask=mask).actions == (0, 0)
        assert client.act_batch([observation] * 2, action_mask=[mask, [1, 1, 1]]).actions == (0, 1)
        for encoding in ("msgpack", "json"):
            with client.stream(encoding=encoding) as stream:
                assert stream.act(observation, action_mask=mask).action == 0
