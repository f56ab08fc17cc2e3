"""Whatever is sent, the decoders accept it or explain why not, and agree with plain Python about which."""

import asyncio
import json
import math
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from dqn_models.repository import ModelRepository
from dqn_serving.app import Server
from dqn_serving.policies.loaded import load
from dqn_serving.services import Services
from dqn_serving.settings import read_settings
from tests.serving.bodies import MALFORMED

EXAMPLES = settings(max_examples=500, deadline=None)
FLOAT32_MAX = float(np.finfo(np.float32).max)

numbers = st.one_of(st.floats(), st.integers(), st.floats(-10, 10), st.sampled_from([1e39, -1e39, FLOAT32_MAX]))
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=5))
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
)
rows = st.one_of(st.lists(numbers, min_size=3, max_size=5), anything)
fields = st.fixed_dictionaries(
    {},
    optional={
        "observation": rows,
        "observations": st.one_of(st.lists(rows, max_size=4), anything),
        "version": st.one_of(st.integers(-1, 4), scalars),
        "epsilon": st.one_of(st.floats(0, 1), scalars),
        "seed": st.one_of(st.integers(0, 2**64), scalars),
        "action_mask": st.one_of(st.lists(st.booleans()), st.lists(st.lists(st.booleans())), anything),
        "more": anything,
    },
)


@pytest.fixture(scope="module")
def native(repository: ModelRepository) -> FastAPI:
    """The native calls of that repository without a server around them."""
    arguments = ["--repository", str(repository.root), "--max-batch-size", "64", "--max-body-bytes", "1000000"]
    services = Services(read_settings(arguments))
    for name in ("cartpole", "lake"):
        services.registry.add(name).champion = load(repository, name, 1, 64, services.segment)
    services.registry.choose_default()
    return Server(services).app


def send(native: FastAPI, body: bytes, path: str = "/act") -> tuple[int, Any]:
    """Status and document of the answer to a body."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def collect(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": []}
    asyncio.run(native(scope, receive, collect))
    start, end = sent
    assert len(end["body"]) == int(dict(start["headers"])[b"content-length"])
    return start["status"], json.loads(end["body"])


def is_answered(native: FastAPI, body: bytes, path: str) -> int:
    """Sends a body that may be anything; the answer is a result or a problem that explains itself."""
    status, document = send(native, body, path)
    assert status in {200, 400, 404, 413, 422}, document
    if status == 200:
        assert "action" in document or "actions" in document
    else:
        assert document["status"] == status
        assert "does not fit" not in document["detail"], "the diagnosis found no fault where the decoder did"
    return status


@EXAMPLES
@given(body=st.binary(max_size=200), path=st.sampled_from(["/act", "/models/lake/q-values"]))
def test_any_bytes(native: FastAPI, body: bytes, path: str) -> None:
    """Any bytes are answered."""
    is_answered(native, body, path)


@pytest.mark.slow
@EXAMPLES
@given(document=fields, path=st.sampled_from(["/act", "/q-values", "/models/lake/act", "/models/lake/q-values"]))
def test_any_fields(native: FastAPI, document: dict[str, Any], path: str) -> None:
    """Any values in the known fields are answered."""
    is_answered(native, json.dumps(document).encode(), path)


@EXAMPLES
@given(name=st.sampled_from(sorted(MALFORMED)), data=st.data())
def test_mutations_of_malformed_bodies(native: FastAPI, name: str, data: st.DataObject) -> None:
    """Malformed bodies with a few bytes removed or inserted are answered."""
    body = MALFORMED[name].body[:2_000]
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 5)))
    inserted: SearchStrategy[bytes] = st.sampled_from([b"", b"[", b"]", b"{", b"}", b",", b'"', b"1e5", b"\xff", b"\\"])
    is_answered(native, body[:start] + data.draw(inserted) + body[end:], "/act")


@EXAMPLES
@given(values=st.lists(st.one_of(st.floats(), st.integers(-(2**70), 2**70)), min_size=4, max_size=4))
def test_acceptance_is_exactly_finite_float32(native: FastAPI, values: list[float]) -> None:
    """Four numbers are accepted if and only if each is finite in float32 and so are the Q-values."""
    with np.errstate(over="ignore", invalid="ignore"):
        observation = np.array([values], np.float64).astype(np.float32)
    status, document = send(native, json.dumps({"observation": values}).encode())
    if np.isfinite(observation).all():
        assert status == 200 or document["reason"] == "overflow"
    else:
        assert (status, document["reason"]) == (422, "non_finite")


@EXAMPLES
@given(text=st.from_regex(r"-?(0|[1-9][0-9]{0,50})(\.[0-9]{1,50})?([eE][+-]?[0-9]{1,4})?", fullmatch=True))
def test_any_spelling_of_a_number(native: FastAPI, text: str) -> None:
    """Any spelling of a number in JSON is read as Python reads it, or refused as beyond float32."""
    value = float(text)
    status, document = send(native, f'{{"observation": [0, 0, {text}, 0]}}'.encode(), "/q-values")
    if math.isfinite(value) and abs(value) <= FLOAT32_MAX:
        assert status == 200, document
        assert np.float32(document["q_values"][1]) == np.float32(value)
    elif status != 200:
        assert document["reason"] == "non_finite"
