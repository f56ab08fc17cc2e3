"""FastAPI and ONNX Runtime, as in their documentation; $MODEL is the path of the ONNX file."""

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options)
app = FastAPI()


class Request(BaseModel):
    """The body of a request."""

    observation: list[float]


@app.post("/act")
async def act(request: Request) -> dict[str, int]:
    """The greedy action."""
    (actions,) = session.run(["action"], {"observation": np.array([request.observation], np.float32)})
    return {"action": int(actions[0])}
