"""Invalid requests: each gets `{"error": ...}` with a sentence and the right status."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest

from dqn_testing.server import Server
from tests.serving.oip.wire import INFER, LAKE, ROW, binary_request, binary_tensor, send, tensor


class Malformed(NamedTuple):
    """One row of the table."""

    body: Any
    status: int
    error: str
    path: str = INFER
    length: Any = None


def wrong(status: int, error: str, **fields: Any) -> Malformed:
    """A request whose only input has other fields."""
    return Malformed({"inputs": [tensor(**fields)]}, status, error)


def parameters(error: str, **values: Any) -> Malformed:
    """A request that is valid except for its parameters."""
    return Malformed({"inputs": [tensor()], "parameters": values}, 422, error)


def element(token: bytes, error: str) -> Malformed:
    """A request whose second element is replaced by another token."""
    return Malformed(json.dumps({"inputs": [tensor([0, "?", 2, 3])]}).encode().replace(b'"?"', token), 422, error)


def binary(values: Any, status: int, error: str, **fields: Any) -> Malformed:
    """A request with one binary tensor."""
    body, length = binary_request(values, **fields)
    return Malformed(body, status, error, length=length)


FLOATS = np.array([ROW], np.float32)
VALID, LENGTH_OF_VALID = binary_request(FLOATS)
NAN = np.array([[0, 1, np.nan, 3]], np.float32)

MALFORMED = {
    "empty": Malformed(b"", 400, "The body is empty"),
    "not JSON": Malformed(b"observation", 400, "The body is not JSON"),
    "cut off": Malformed(b'{"inputs": [', 400, "The body is not JSON"),
    "not UTF-8": Malformed(b'{"inputs": [], "id": "\xff"}', 400, "The body is not"),
    "nested too deeply": Malformed(b'{"x": ' + b"[" * 50_000, 400, "nested too deeply"),
    "a list": Malformed([], 422, "expected a JSON object"),
    "null": Malformed(None, 422, "expected a JSON object"),
    "no inputs": Malformed({}, 422, "missing required field `inputs`"),
    "inputs null": Malformed({"inputs": None}, 422, "inputs: Expected `array`"),
    "no input": Malformed({"inputs": []}, 422, "The inputs are none; cartpole version 1 expects exactly one"),
    "two inputs": Malformed({"inputs": [tensor()] * 2}, 422, "The inputs are 'observation', 'observation'"),
    "many inputs": Malformed({"inputs": [tensor(name="x" * 90)] * 300}, 422, "expects exactly one 'observation'"),
    "other input": wrong(422, "The inputs are 'state'", name="state"),
    "input is text": Malformed({"inputs": ["observation"]}, 422, "inputs[0]: Expected `object`"),
    "id is a number": Malformed({"inputs": [tensor()], "id": 42}, 422, "id: Expected `str | null`"),
    "other datatype": wrong(422, "observation has datatype 'FP64'; cartpole version 1 expects FP32", datatype="FP64"),
    "no such datatype": wrong(422, "observation has datatype 'float'", datatype="float"),
    "shape is a number": wrong(422, "shape: Expected `array`", shape=4),
    "shape of fractions": wrong(422, "shape[0]: Expected `int`", shape=[1.5, 4]),
    "no batch": wrong(422, "has shape [4]; cartpole version 1 expects [batch, 4]", shape=[4]),
    "empty shape": wrong(422, "has shape []", shape=[]),
    "batch of none": wrong(422, "has shape [0, 4]", shape=[0, 4], data=[]),
    "negative batch": wrong(422, "has shape [-1, 4]", shape=[-1, 4]),
    "other size": wrong(422, "has shape [1, 3]", shape=[1, 3], data=[1, 2, 3]),
    "huge batch": wrong(413, "entries; at most 64", shape=[2**70, 4]),
    "batch above the limit": wrong(413, "65 entries; at most 64", shape=[65, 4], data=[ROW] * 65),
    "data and shape differ": wrong(422, "has 4 elements; its shape is [2, 4]", shape=[2, 4]),
    "nested data and shape differ": wrong(422, "has shape [1, 4]; its shape is [2, 4]", shape=[2, 4], data=[ROW]),
    "ragged data": wrong(422, "is ragged; its shape is [2, 4]", shape=[2, 4], data=[ROW, [1]]),
    "data too deep": wrong(422, "its shape is [1, 4]", data=[[[1, 2, 3, 4]]]),
    "deep data": Malformed(
        b'{"inputs":[{"name":"observation","shape":[1,4],"datatype":"FP32","data":%b%b}]}' % (b"[" * 900, b"]" * 900),
        422,
        "its shape is [1, 4]",
    ),
    "partly nested": wrong(422, "its shape is [1, 4]", data=[[1], 2, 3, 4]),
    "data is null": wrong(422, "data is null; expected a list", data=None),
    "data is text": wrong(422, "data is '[1, 2]'", data="[1, 2]"),
    "data is an object": wrong(422, "data is an object", data={"a": 1}),
    "empty data": wrong(422, "has 0 elements", data=[]),
    "text": element(b'"1"', "data[1] is '1'; cartpole version 1 expects a finite float32 number"),
    "true": element(b"true", "data[1] is true"),
    "NaN": element(b"NaN", "inputs[0].data[1] is NaN"),
    "Infinity": element(b"-Infinity", "inputs[0].data[1] is -Infinity"),
    "1e400": element(b"1e400", "data[1] is Infinity"),
    "beyond float32": element(b"1e39", "data[1] is 1e+39"),
    "long integer": element(b"9" * 5_000, "data[1] is Infinity"),
    "overflow": wrong(422, "overflow float32", data=[3e38] * 4),
    "no data": Malformed(
        {"inputs": [{"name": "observation", "shape": [1, 4], "datatype": "FP32"}]},
        422,
        "neither data nor binary_data_size",
    ),
    "Discrete out of range": Malformed(
        {"inputs": [tensor([16], [1], datatype="INT64")]}, 422, "data[0] is 16; lake version 1 expects", LAKE
    ),
    "Discrete fraction": Malformed({"inputs": [tensor([1.0], [1], datatype="INT64")]}, 422, "data[0] is 1.0", LAKE),
    "Discrete nested": Malformed({"inputs": [tensor([[1]], [1], datatype="INT64")]}, 422, "its shape is [1]", LAKE),
    "epsilon above 1": parameters("parameters.epsilon: Expected `float` <= 1", epsilon=1.1),
    "epsilon text": parameters("parameters.epsilon: Expected `float`", epsilon="0.1"),
    "epsilon true": parameters("parameters.epsilon", epsilon=True),
    "seed negative": parameters("parameters.seed: Expected `int` >= 0", seed=-1),
    "seed huge": parameters("parameters.seed", seed=2**63),
    "binary_data_output text": parameters("parameters.binary_data_output: Expected `bool`", binary_data_output="yes"),
    "parameters list": Malformed({"inputs": [tensor()], "parameters": []}, 422, "parameters: Expected `object | null`"),
    "unknown output": Malformed({"inputs": [tensor()], "outputs": [{"name": "value"}]}, 422, "Output 'value'"),
    "output twice": Malformed({"inputs": [tensor()], "outputs": [{"name": "action"}] * 2}, 422, "requested twice"),
    "propensity without epsilon": Malformed(
        {"inputs": [tensor()], "outputs": [{"name": "propensity"}]}, 422, "Output 'propensity' is unknown"
    ),
    "classification": Malformed(
        {"inputs": [tensor()], "outputs": [{"name": "q_values", "parameters": {"classification": 2}}]},
        422,
        "an extension that this server does not support",
    ),
    "length is text": Malformed(VALID, 400, "Inference-Header-Content-Length is 'ten'", length="ten"),
    "length negative": Malformed(VALID, 400, "Inference-Header-Content-Length is '-1'", length=-1),
    "length beyond the body": Malformed(VALID, 400, "expected a number of bytes, at most", length=len(VALID) + 1),
    "length of thousands": Malformed(VALID, 400, "Inference-Header-Content-Length", length="9" * 5_000),
    "length 0": Malformed(VALID, 400, "The body is empty", length=0),
    "length too short": Malformed(VALID, 400, "not JSON", length=LENGTH_OF_VALID - 1),
    "length too long": Malformed(VALID, 400, "The body is not", length=LENGTH_OF_VALID + 3),
    "length missing": Malformed(VALID, 400, "The body is not"),
    "binary too short": Malformed(
        VALID[:-1], 422, "15 bytes after the JSON; shape [1, 4] needs", length=LENGTH_OF_VALID
    ),
    "binary too long": Malformed(VALID + b"\0", 422, "17 bytes after the JSON", length=LENGTH_OF_VALID),
    "binary size of another shape": binary(FLOATS, 422, "needs 32 bytes", inputs=[binary_tensor(16, [2, 4])]),
    "binary size negative": binary(FLOATS, 422, "binary_data_size: Expected `int` >= 0", inputs=[binary_tensor(-16)]),
    "binary size text": binary(FLOATS, 422, "binary_data_size: Expected `int`", inputs=[binary_tensor("16")]),
    "binary size huge": binary(FLOATS, 422, "needs 16 bytes", inputs=[binary_tensor(2**80)]),
    "data and binary size": binary(FLOATS, 422, "both data and binary", inputs=[binary_tensor(16, data=ROW)]),
    "data and binary bytes": binary(FLOATS, 422, "16 bytes follow the JSON", inputs=[tensor()]),
    "binary NaN": binary(NAN, 422, "element 2 of the binary data is NaN; cartpole version 1 expects a finite"),
    "binary Infinity": binary(np.full((1, 4), -np.inf, np.float32), 422, "is -Infinity"),
    "binary overflow": binary(np.full((1, 4), 3e38, np.float32), 422, "overflow float32"),
    "unknown model": Malformed({"inputs": [tensor()]}, 404, "no model 'pong'", "/v2/models/pong/infer"),
    "unknown version": Malformed({}, 404, "cartpole has no version 9", "/v2/models/cartpole/versions/9/infer"),
    "alias as version": Malformed({}, 404, "no version 'champion'", "/v2/models/cartpole/versions/champion/infer"),
    "version 0": Malformed({}, 404, "no version '0'", "/v2/models/cartpole/versions/0/infer"),
    "path as model": Malformed({}, 404, "no model '..'", "/v2/models/%2e%2e/infer"),
    "empty model": Malformed({}, 404, "no such path", "/v2/models//infer"),
    "unknown call": Malformed({}, 404, "no such path", "/v2/models/cartpole/predict"),
    "body too large": Malformed(b" " * 100_001, 413, "larger than the 100000 bytes"),
    "index of text": Malformed(b"ready", 400, "not JSON", "/v2/repository/index"),
    "index by text": Malformed({"ready": "yes"}, 422, "ready: Expected `bool`", "/v2/repository/index"),
}


@pytest.mark.parametrize("name", sorted(MALFORMED))
def test_malformed(server: Server, name: str) -> None:
    """The request is refused with the status and sentence of the table, and the server continues."""
    malformed = MALFORMED[name]
    response = send(server, malformed.body, malformed.path, malformed.length)
    assert response.status_code == malformed.status, response.text
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"]
    assert malformed.error in response.json()["error"]
    assert len(response.content) < 1_000
    assert send(server, {"inputs": [tensor()]}).status_code == 200


def test_two_lengths_are_refused(server: Server) -> None:
    """A repeated length header is refused."""
    lengths = [("Inference-Header-Content-Length", str(LENGTH_OF_VALID))] * 2
    assert server.post(INFER, VALID, headers=lengths).status_code == 400


def test_refusals_are_counted_by_reason(server: Server) -> None:
    """Each kind of refusal has its own reason in the metric."""
    for name, reason in (
        ("NaN", "non_finite"),
        ("binary NaN", "non_finite"),
        ("other datatype", "type"),
        ("batch above the limit", "too_large"),
        ("body too large", "too_large"),
        ("epsilon text", "epsilon"),
        ("seed huge", "seed"),
        ("overflow", "overflow"),
        ("not JSON", "not_json"),
        ("unknown output", "fields"),
    ):
        before = server.metric("dqn_observations_rejected_total", reason=reason)
        send(server, MALFORMED[name].body, length=MALFORMED[name].length)
        assert server.metric("dqn_observations_rejected_total", reason=reason) == before + 1, name
