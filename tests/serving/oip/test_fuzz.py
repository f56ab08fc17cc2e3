"""Whatever is sent to the protocol is answered, or refused in the documented form."""

import asyncio
import gzip
import json
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from dqn_models.repository import ModelRepository
from dqn_serving.app import Server
from dqn_serving.policies.loaded import load
from dqn_serving.services import Services
from dqn_serving.settings import read_settings
from tests.serving.oip.wire import INFER, LAKE, ROW, binary_tensor, tensor

EXAMPLES = examples(max_examples=500, deadline=None)

numbers = st.one_of(st.floats(), st.integers(), st.integers(-2, 20), st.sampled_from([1e39, -1e39, 2**70]))
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=5))
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
)
datas = st.one_of(
    st.just(ROW), st.lists(numbers, max_size=9), st.lists(st.lists(numbers, max_size=5), max_size=3), anything
)
shapes = st.one_of(st.sampled_from([[1, 4], [2, 4], [1], [1, 1]]), st.lists(st.integers(-1, 5), max_size=3), anything)
inputs = st.fixed_dictionaries(
    {"name": st.one_of(st.just("observation"), scalars), "shape": shapes},
    optional={
        "datatype": st.one_of(st.sampled_from(["FP32", "INT64"]), scalars),
        "data": datas,
        "parameters": st.one_of(
            st.fixed_dictionaries({"binary_data_size": st.one_of(st.integers(0, 40), scalars)}), anything
        ),
    },
)
outputs = st.fixed_dictionaries(
    {"name": st.one_of(st.sampled_from(["q_values", "action", "propensity"]), scalars)},
    optional={
        "parameters": st.one_of(st.fixed_dictionaries({"binary_data": st.one_of(st.booleans(), scalars)}), anything)
    },
)
parameters = st.fixed_dictionaries(
    {},
    optional={
        "epsilon": st.one_of(st.floats(0, 1), scalars),
        "seed": st.one_of(st.integers(0, 2**64), scalars),
        "binary_data_output": st.one_of(st.booleans(), scalars),
        "more": anything,
    },
)
requests = st.fixed_dictionaries(
    {"inputs": st.one_of(st.lists(inputs, max_size=2), anything)},
    optional={
        "id": scalars,
        "outputs": st.one_of(st.lists(outputs, max_size=3), anything),
        "parameters": st.one_of(parameters, anything),
        "more": anything,
    },
)
VALID = json.dumps({"id": "1", "inputs": [tensor()], "parameters": {"epsilon": 0.5}, "outputs": [{"name": "action"}]})
VALID_BINARY = json.dumps({"inputs": [binary_tensor(16)], "parameters": {"binary_data_output": True}})
fragments = st.sampled_from([b"", b"[", b"]", b"{", b"}", b",", b'"', b"1e5", b"\xff", b"\\", b"NaN", b"\0\0\xc0\x7f"])


@pytest.fixture(scope="module")
def api(repository: ModelRepository) -> FastAPI:
    """The protocol's calls without a server around them."""
    settings = ["--repository", str(repository.root), "--max-batch-size", "64", "--max-body-bytes", "100000"]
    services = Services(read_settings(settings))
    for name in ("cartpole", "lake"):
        services.registry.add(name).champion = load(repository, name, 1, 64, services.segment)
    return Server(services).app


def send(api: FastAPI, body: bytes, path: str = INFER, **headers: bytes) -> int:
    """Sends a body; checks the form of the answer and returns its status."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def collect(message: Any) -> None:
        sent.append(message)

    fields = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": path, "headers": fields}
    asyncio.run(api(scope, receive, collect))
    start, end = sent
    status: int = start["status"]
    answered = dict(start["headers"])
    assert len(end["body"]) == int(answered[b"content-length"])
    assert status in {200, 400, 404, 405, 413, 415, 422}, end["body"]
    document = json.loads(end["body"][: int(answered.get(b"inference-header-content-length", len(end["body"])))])
    if status != 200:
        assert list(document) == ["error"]
        assert len(document["error"]) < 500
    return status


@EXAMPLES
@given(body=st.binary(max_size=200), path=st.sampled_from([INFER, LAKE, "/v2/repository/index"]))
def test_any_bytes(api: FastAPI, body: bytes, path: str) -> None:
    """Any bytes are answered."""
    send(api, body, path)


@pytest.mark.slow
@EXAMPLES
@given(document=requests, binary=st.binary(max_size=40), path=st.sampled_from([INFER, LAKE]), framed=st.booleans())
def test_any_fields(api: FastAPI, document: Any, binary: bytes, path: str, *, framed: bool) -> None:
    """Any values in the known fields are answered, with and without binary data."""
    text = json.dumps(document).encode()
    if framed:
        send(api, text + binary, path, inference_header_content_length=b"%d" % len(text))
    else:
        send(api, text, path)


@pytest.mark.slow
@EXAMPLES
@given(data=st.data(), valid=st.sampled_from([VALID, VALID_BINARY]))
def test_mutations_of_valid_requests(api: FastAPI, data: st.DataObject, valid: str) -> None:
    """Valid requests with a few bytes removed or inserted, and with any declared length, are answered."""
    body = valid.encode() + (b"\0" * 16 if valid is VALID_BINARY else b"")
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 5)))
    length = data.draw(st.one_of(st.just(len(valid)), st.integers(-1, len(body) + 5)))
    mutated = body[:start] + data.draw(fragments) + body[end:]
    send(api, mutated, inference_header_content_length=b"%d" % length)


@EXAMPLES
@given(data=st.data(), encoding=st.sampled_from([b"gzip", b"deflate", b"identity", b"br"]))
def test_mutations_of_compressed_requests(api: FastAPI, data: st.DataObject, encoding: bytes) -> None:
    """Compressed bodies with a few bytes changed are answered."""
    body = bytearray(gzip.compress(VALID.encode(), mtime=0))
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    send(api, bytes(body), content_encoding=encoding)


@EXAMPLES
@given(path=st.one_of(st.text(max_size=30), st.lists(st.text(max_size=9), max_size=6).map("/".join)))
def test_any_path(api: FastAPI, path: str) -> None:
    """Any path under /v2 is answered, whether it is a call or not."""
    send(api, b"{}", f"/v2/{path}")


def test_the_valid_requests_are_valid(api: FastAPI) -> None:
    """Each request that the mutations start from is answered with 200."""
    assert send(api, VALID.encode()) == 200
    assert (
        send(api, VALID_BINARY.encode() + b"\0" * 16, inference_header_content_length=b"%d" % len(VALID_BINARY)) == 200
    )
    assert send(api, gzip.compress(VALID.encode()), content_encoding=b"gzip") == 200
