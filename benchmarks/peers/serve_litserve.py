"""LitServe, as in its documentation; $MODEL is the path of the ONNX file, the argument is the port."""

import os
import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime


class Acting(litserve.LitAPI):  # type: ignore[misc]
    """Observation to greedy action."""

    def setup(self, device: str) -> None:  # noqa: ARG002  (LitServe's signature)
        """Loads the policy."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options)

    def decode_request(self, request: dict[str, Any]) -> Any:
        """JSON to a batch of one."""
        return np.array([request["observation"]], np.float32)

    def predict(self, observations: Any) -> Any:
        """Runs the policy."""
        return self.session.run(["action"], {"observation": observations})[0]

    def encode_response(self, actions: Any) -> dict[str, int]:
        """The response."""
        return {"action": int(actions[0])}


if __name__ == "__main__":
    server = litserve.LitServer(Acting(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="error")
