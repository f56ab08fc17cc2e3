"""Everything that KServe's REST client can ask of a V2 server, printed as a line of JSON; needs KServe."""

import asyncio
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

OBSERVATIONS = np.random.default_rng(7).normal(size=(6, 4)).astype(np.float32)
EXPLORE = {"epsilon": 1.0, "seed": 5}


def request(*, binary: bool, parameters: Any = None, outputs: Any = None) -> Any:
    """An infer request with one input."""
    tensor = InferInput("observation", [6, 4], "FP32")
    tensor.set_data_from_numpy(OBSERVATIONS, binary_data=binary)
    wanted = [RequestedOutput(name, {"binary_data": is_binary}) for name, is_binary in (outputs or {}).items()]
    return InferRequest("cartpole", [tensor], request_id="42", parameters=parameters, request_outputs=wanted or None)


def as_json(answer: Any) -> dict[str, Any]:
    """An answer as JSON."""
    outputs = {output.name: output.as_numpy().tolist() for output in answer.outputs}
    return {"id": answer.id, "model": answer.model_name} | outputs


async def refused(calling: Any) -> str:
    """The message of a call that must fail."""
    try:
        await calling
    except httpx.HTTPStatusError as error:
        return str(error)
    raise AssertionError("the call was answered")


async def play(url: str) -> dict[str, Any]:
    """The result of each call."""
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    forms = {
        "json": request(binary=False),
        "binary": request(binary=True),
        "binary answer": request(binary=True, parameters={"binary_data_output": True}),
        "mixed answer": request(binary=False, outputs={"q_values": True, "action": False}),
        "exploring": request(binary=True, parameters=EXPLORE),
    }
    return {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model ready": await client.is_model_ready(url, "cartpole"),
        "unknown ready": await client.is_model_ready(url, "pong"),
        "answers": {
            form: as_json(await client.infer(url, sent, model_name="cartpole")) for form, sent in forms.items()
        },
        "error": await refused(client.infer(url, request(binary=True), model_name="pong")),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(play(sys.argv[1]))))
