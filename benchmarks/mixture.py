"""A mixture of valid and invalid requests: their bytes, frequency and expected status."""

import json
from typing import NamedTuple

import numpy as np

OBSERVATION = [0.02, -0.01, 0.03, 0.04]


class Kind(NamedTuple):
    """A kind of request: its bytes, relative frequency and expected status."""

    name: str
    weight: int
    request: bytes
    status: int


def _post(path: str, body: object, *headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: soak", f"Content-Length: {len(content)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


def _tensor(rows: int, **fields: object) -> dict[str, object]:
    return {"inputs": [{"name": "observation", "shape": [rows, 4], "datatype": "FP32", **fields}]}


def _binary(rows: int) -> bytes:
    raw = np.zeros((rows, 4), "<f4").tobytes()
    document = _tensor(rows, parameters={"binary_data_size": len(raw)})
    text = json.dumps({**document, "parameters": {"binary_data_output": True}}).encode()
    return _post("/v2/models/cartpole/infer", text + raw, f"Inference-Header-Content-Length: {len(text)}")


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: soak\r\n\r\n".encode()


ONE, MANY = {"observation": OBSERVATION}, {"observations": [OBSERVATION] * 64}
KINDS = [
    Kind("act", 600, _post("/act", ONE), 200),
    Kind("explore", 60, _post("/act", {**ONE, "epsilon": 0.1, "action_mask": [True, False]}), 200),
    Kind("q-values", 100, _post("/q-values", ONE), 200),
    Kind("batch", 60, _post("/act", MANY), 200),
    Kind("large batch", 2, _post("/q-values", {"observations": [OBSERVATION] * 2048}), 200),
    Kind("version", 30, _post("/act", {**ONE, "version": 1}), 200),
    Kind("infer, JSON", 60, _post("/v2/models/cartpole/infer", _tensor(1, data=OBSERVATION)), 200),
    Kind("infer, binary", 60, _binary(16), 200),
    Kind("not JSON", 10, _post("/act", b'{"observation": [0,'), 400),
    Kind("wrong shape", 10, _post("/act", {"observation": [0, 0, 0]}), 422),
    Kind("deep", 1, _post("/act", b"[" * 50_000), 400),
    Kind("too large", 1, _post("/act", b" " * 100).replace(b"Length: 100", b"Length: 9999999999"), 413),
    Kind("no HTTP", 2, b"GET /act HTTP/1.1\r\nBad Name: 1\r\n\r\n", 400),
    Kind("unknown", 5, _get("/nothing"), 404),
    Kind("models", 5, _get("/models"), 200),
    Kind("metrics", 2, _get("/metrics"), 200),
    Kind("ready", 5, _get("/readyz"), 200),
]
