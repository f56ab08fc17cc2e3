"""MLServer with a custom runtime, as in its documentation; $MODEL is the path of the ONNX file."""

import os

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Acting(MLModel):  # type: ignore[misc]
    """Observation to greedy action."""

    async def load(self) -> bool:
        """Loads the policy."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The greedy actions."""
        observations = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        (actions,) = self.session.run(["action"], {"observation": observations})
        output = NumpyCodec.encode_output("action", actions)
        return InferenceResponse(model_name=self.name, outputs=[output])
