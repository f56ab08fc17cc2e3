"""Requests of the protocol as bytes, for tests without a client."""

import json
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from dqn_testing.server import Server

INFER = "/v2/models/cartpole/infer"
LAKE = "/v2/models/lake/infer"
LENGTH = "Inference-Header-Content-Length"
ROW = [0.1, 0.2, 0.3, 0.4]


def tensor(data: Any = ROW, shape: Any = (1, 4), **fields: Any) -> dict[str, Any]:
    """An input in JSON."""
    return {"name": "observation", "shape": shape, "datatype": "FP32", "data": data} | fields


def binary_tensor(size: Any, shape: Any = (1, 4), **fields: Any) -> dict[str, Any]:
    """An input whose elements follow the JSON."""
    parameters = {"binary_data_size": size}
    return {"name": "observation", "shape": shape, "datatype": "FP32", "parameters": parameters} | fields


def binary_request(values: NDArray[Any], **fields: Any) -> tuple[bytes, int]:
    """A body with one binary tensor, and the length of its JSON."""
    raw = values.tobytes()
    text = json.dumps({"inputs": [binary_tensor(len(raw), values.shape)]} | fields).encode()
    return text + raw, len(text)


def send(server: Server, body: Any, path: str = INFER, length: Any = None, **headers: str) -> httpx.Response:
    """Posts a body; `length` is that of its JSON, underscores in the names of headers stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.post(path, body, headers=named if length is None else named | {LENGTH: str(length)})


def read(response: httpx.Response) -> tuple[Any, dict[str, NDArray[Any]]]:
    """The JSON of an answer, and its outputs as arrays."""
    assert response.status_code == 200, response.text
    size = int(response.headers.get(LENGTH, len(response.content)))
    document, binary = json.loads(response.content[:size]), response.content[size:]
    kinds = {"FP32": "<f4", "INT64": "<i8", "FP64": "<f8"}
    outputs = {}
    for output in document["outputs"]:
        kind = np.dtype(kinds[output["datatype"]])
        count = output.get("parameters", {}).get("binary_data_size")
        values = np.array(output["data"], kind) if count is None else np.frombuffer(binary[:count], kind)
        binary = binary[count or 0 :]
        outputs[output["name"]] = values.reshape(output["shape"])
    assert not binary
    return document, outputs
